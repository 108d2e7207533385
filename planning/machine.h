// The machine that a job is planned for: a YAML file that people write once per cluster
// (docs/planning.md).
#pragma once

#include <string>

#include "base/file.h"
#include "tensor/dtype.h"

namespace eyrie::planning {

// All numbers are per rank: what it reaches while all ranks of its node are busy.
struct Machine {
  struct Link {
    double bandwidth;  // bytes per second out of a rank, and as many into it
    double latency;    // seconds per exchange, whatever its size
  };
  std::string name = "this machine";
  int ranks_per_node = 0;                 // 0: all ranks are on one node
  double flops_bf16 = 0, flops_fp32 = 0;  // per second: the best of large matrix products
  double efficiency = 0.7;                // the fraction of it that a step reaches
  double memory_bandwidth = 10e9;         // bytes per second
  Link node{3e9, 20e-6};                  // between ranks of one node
  Link network{1e9, 50e-6};               // between nodes

  double flops(tensor::DType compute) const {
    return compute == tensor::DType::kFloat32 ? flops_fp32 : flops_bf16;
  }
  // The link within a group of this many neighbouring ranks.
  const Link& link(int ranks) const {
    return ranks_per_node == 0 || ranks <= ranks_per_node ? node : network;
  }
};

// Throws InputError naming file, line and key.
Machine read_machine(const base::Path& path);

// Describes one rank of this machine with its current threads: matrix products are measured (about
// a second), the rest are the defaults above.
Machine measure_machine(tensor::DType compute);

// One of `ranks` ranks of a node like this one with `threads` threads each: products and copies are
// measured while all of them compute.
Machine measure_node(tensor::DType compute, int ranks, int threads);

}  // namespace eyrie::planning
