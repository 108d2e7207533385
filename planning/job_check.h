// What the nodes and links of a job can do, measured on all of its ranks at once: for
// `eyrie doctor`, and as the machine of later plans.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/file.h"
#include "parallel/communication/communicator.h"
#include "planning/machine.h"

namespace eyrie::planning {

struct RankCheck {
  std::string host;
  std::vector<int> cores;  // that it may use
  int threads = 1;
  double flops_fp32 = 0, flops_bf16 = 0;  // per second, while all ranks multiply
  double busy = 0;                        // processor time per thread and second of that, at best 1
  double memory_bandwidth = 0;            // bytes per second of a copy, read and written
};

// Measured by the first rank of each node.
struct NodeCheck {
  std::string host;
  int ranks = 0;
  double clock_ahead = 0;  // seconds before (+) or behind the first node's clock
  double clock_error = 0;  // half of the shortest exchange: the offset is known to within this
  double write_speed = 0, read_speed = 0;  // of the folder, bytes per second; 0: not tried
  double seen_after = 0;  // seconds until it saw a file that the first node renamed; −1: never
  std::string fault;      // why the folder could not be tried
};

struct LinkCheck {
  std::string from, to;  // hosts; the same: between two ranks of one node
  double latency = 0;    // seconds, one way
  double bandwidth = 0;  // bytes per second, one way
};

struct JobCheck {
  std::vector<RankCheck> ranks;
  std::vector<NodeCheck> nodes;  // in the order of their first ranks
  std::vector<LinkCheck> links;  // each pair of nodes once, and one within each node
};

// Collective; the result is whole on rank 0. `folder`: where each node tries its files; "": not
// tried. Takes about 10 seconds and a second more per node.
JobCheck check_job(parallel::Communicator& world, const base::Path& folder);

// What stands out: nodes or links far slower than the median, ranks that share cores, clocks that
// differ, files that are not seen. One sentence each; none: all is alike.
std::vector<std::string> findings(const JobCheck& check);

// The job as `eyrie plan --machine` reads it: the slowest rank, and the median links.
std::string machine_yaml(const JobCheck& check, const std::string& name);

}  // namespace eyrie::planning
