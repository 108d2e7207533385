// What a plan must know of the machine that a job is to run on: a YAML file that people write once
// for a cluster (docs/planning.md).
#pragma once

#include <string>

#include "base/file.h"
#include "tensor/dtype.h"

namespace eyrie::trainer {

// Everything of one rank: what it reaches while all ranks of its node work.
struct Machine {
  struct Link {
    double bandwidth;  // bytes a second out of a rank, and as many into it
    double latency;    // seconds of an exchange whatever its size
  };
  std::string name = "this machine";
  int ranks_a_node = 0;                   // 0: all ranks are on one
  double flops_bf16 = 0, flops_fp32 = 0;  // a second: the best of large products
  double efficiency = 0.7;                // what a step's products reach of it
  double memory_bandwidth = 10e9;         // bytes a second
  Link node{3e9, 20e-6};                  // between ranks of one node
  Link network{1e9, 50e-6};               // between nodes

  double flops(tensor::DType compute) const {
    return compute == tensor::DType::kFloat32 ? flops_fp32 : flops_bf16;
  }
  // For ranks that lie within so many neighbouring ones.
  const Link& link(int ranks) const {
    return ranks_a_node == 0 || ranks <= ranks_a_node ? node : network;
  }
};

// InputError naming file, line and key.
Machine read_machine(const base::Path& path);

// One rank of this machine, on the threads that it computes with now: its products are measured (a
// second or so), the rest is as above.
Machine measure_machine(tensor::DType compute);

}  // namespace eyrie::trainer
