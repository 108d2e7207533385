// Measures a job's ranks, links, clocks and folder.
#include "planning/job_check.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <functional>
#include <map>

#include "base/file.h"
#include "base/listing.h"
#include "planning/folder_check.h"
#include "tensor/arena.h"
#include "tensor/cores.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/matmul.h"
#include "tensor/threads.h"

namespace eyrie::planning {
namespace {

using Clock = std::chrono::steady_clock;
constexpr int kTag = 0x0d0c;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double processor_seconds() {
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
  };
  return seconds(used.ru_utime) + seconds(used.ru_stime);
}

// Products and copies while all ranks do the same.
RankCheck check_rank(parallel::Communicator& world) {
  constexpr std::int64_t kSize = 1024, kCopied = std::int64_t{32} << 20;
  constexpr int kRounds = 3;
  RankCheck rank;
  rank.threads = tensor::thread_count();
  const tensor::Buffer from(kCopied), to(kCopied);
  from.row().f32()[0] = 0;
  const auto copy = [&] { tensor::copy(from.row(), to.row()); };
  copy();  // the first one maps the pages
  for (int round = 0; round < kRounds; ++round) {
    for (const auto dtype : {tensor::DType::kFloat32, tensor::DType::kBFloat16}) {
      world.barrier();
      const double used = processor_seconds();
      const Clock::time_point start = Clock::now();
      double& best = dtype == tensor::DType::kFloat32 ? rank.flops_fp32 : rank.flops_bf16;
      best = std::max(best, tensor::measure_matmul_peak(dtype, kSize, 10));
      rank.busy =
          std::max(rank.busy, (processor_seconds() - used) / seconds_since(start) / rank.threads);
    }
    world.barrier();
    const Clock::time_point start = Clock::now();
    copy();
    rank.memory_bandwidth = std::max(rank.memory_bandwidth, 2.0 * kCopied / seconds_since(start));
  }
  return rank;
}

void exchange(parallel::Communicator& world, int with, bool begins, std::span<std::byte> bytes) {
  const auto send = [&] { world.send(bytes, with, kTag)->wait(); };
  const auto receive = [&] { world.receive(bytes, with, kTag)->wait(); };
  begins ? send() : receive();
  begins ? receive() : send();
}

// Both ranks of a pair call it. Half of the time of an exchange there and back.
LinkCheck check_link(parallel::Communicator& world, int with) {
  constexpr int kSmall = 200, kLarge = 5;
  constexpr std::size_t kBytes = std::size_t{8} << 20;
  const bool begins = world.rank() < with;
  std::vector<std::byte> bytes(kBytes);
  std::vector<double> small, large;
  for (int i = 0; i < kSmall; ++i) {
    const Clock::time_point start = Clock::now();
    exchange(world, with, begins, std::span(bytes).first(8));
    small.push_back(seconds_since(start) / 2);
  }
  for (int i = 0; i < kLarge; ++i) {
    const Clock::time_point start = Clock::now();
    exchange(world, with, begins, bytes);
    large.push_back(seconds_since(start) / 2);
  }
  std::sort(small.begin(), small.end());
  LinkCheck link;
  link.latency = small[small.size() / 2];
  link.bandwidth = kBytes / *std::min_element(large.begin(), large.end());
  return link;
}

double clock_time() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

// How far the clock of `with` is ahead of rank 0's; 0 on the other rank.
struct Offset {
  double ahead = 0, error = 0;
};
Offset check_clock(parallel::Communicator& world, int with) {
  Offset best{0, 1e9};
  for (int i = 0; i < 50; ++i) {
    double theirs = 0;
    const auto bytes = std::as_writable_bytes(std::span(&theirs, 1));
    if (world.rank() != 0) {
      world.receive(bytes, 0, kTag)->wait();
      theirs = clock_time();
      world.send(bytes, 0, kTag)->wait();
      continue;
    }
    const double before = clock_time();
    world.send(bytes, with, kTag)->wait();
    world.receive(bytes, with, kTag)->wait();
    const double after = clock_time();
    if ((after - before) / 2 < best.error)
      best = {theirs - (before + after) / 2, (after - before) / 2};
  }
  return best;
}

std::vector<int> first_ranks(const std::vector<std::string>& hosts) {
  std::vector<int> leaders;
  for (std::size_t r = 0; r < hosts.size(); ++r)
    if (std::find(hosts.begin(), hosts.end(), hosts[r]) - hosts.begin() == std::ptrdiff_t(r))
      leaders.push_back(static_cast<int>(r));
  return leaders;
}

// Every pair of `count` players meets once: returns the opponent in a round of count − 1 (or count,
// if that is odd), −1 for none.
int opponent(int player, int round, int count) {
  const int even = count + count % 2, turns = even - 1;
  int other = 0;
  if (player == even - 1) {
    other = round * (even / 2) % turns;  // the one that would meet itself
  } else {
    other = (round - player + turns) % turns;
    if (other == player) other = even - 1;
  }
  return other < count ? other : -1;
}

template <class T>
std::vector<std::vector<T>> gathered(parallel::Communicator& world, const std::vector<T>& values) {
  return world.all_gather_values(std::span<const T>(values));
}

}  // namespace

JobCheck check_job(parallel::Communicator& world, const base::Path& folder) {
  const auto hosts = world.all_gather(base::host_name());
  const auto cores = gathered(world, tensor::core_list());
  const std::vector<int> leaders = first_ranks(hosts);
  const int nodes = static_cast<int>(leaders.size());
  const RankCheck own = check_rank(world);
  const auto numbers =
      gathered(world, std::vector<double>{static_cast<double>(own.threads), own.flops_fp32,
                                          own.flops_bf16, own.busy, own.memory_bandwidth});
  JobCheck all;
  for (std::size_t r = 0; r < hosts.size(); ++r)
    all.ranks.push_back({hosts[r], cores[r], static_cast<int>(numbers[r][0]), numbers[r][1],
                         numbers[r][2], numbers[r][3], numbers[r][4]});

  // Links between nodes, as many pairs at a time as there are; then one within each node.
  const auto self =
      static_cast<int>(std::find(leaders.begin(), leaders.end(), world.rank()) - leaders.begin());
  std::vector<double> measured;  // of this rank: the other's node, latency, bandwidth
  const auto keep = [&](int node, const LinkCheck& link) {
    measured.insert(measured.end(), {static_cast<double>(node), link.latency, link.bandwidth});
  };
  for (int round = 0; round + 1 < nodes + nodes % 2; ++round) {
    world.barrier();
    const int other = self < nodes ? opponent(self, round, nodes) : -1;
    if (other < 0) continue;
    const LinkCheck link = check_link(world, leaders[static_cast<std::size_t>(other)]);
    if (self < other) keep(other, link);
  }
  world.barrier();
  for (int node = 0; node < nodes; ++node) {
    const int first = leaders[static_cast<std::size_t>(node)];
    const auto second =
        std::find(hosts.begin() + first + 1, hosts.end(), hosts[static_cast<std::size_t>(first)]);
    if (second == hosts.end()) continue;
    const int neighbour = static_cast<int>(second - hosts.begin());
    if (world.rank() == first) keep(node, check_link(world, neighbour));
    if (world.rank() == neighbour) check_link(world, first);
  }
  world.barrier();
  const auto links = gathered(world, measured);
  for (const int leader : leaders) {
    const auto& values = links[static_cast<std::size_t>(leader)];
    for (std::size_t i = 0; i + 2 < values.size(); i += 3) {
      const auto other = static_cast<std::size_t>(leaders[static_cast<std::size_t>(values[i])]);
      all.links.push_back(
          {hosts[static_cast<std::size_t>(leader)], hosts[other], values[i + 1], values[i + 2]});
    }
  }

  std::vector<Offset> offsets(static_cast<std::size_t>(nodes));
  for (int node = 1; node < nodes; ++node) {
    const int leader = leaders[static_cast<std::size_t>(node)];
    if (world.rank() == 0) offsets[static_cast<std::size_t>(node)] = check_clock(world, leader);
    if (world.rank() == leader) check_clock(world, 0);
  }
  world.barrier();
  const std::vector<FolderCheck> files = check_folder(world, folder, leaders);
  for (int node = 0; node < nodes; ++node) {
    const auto n = static_cast<std::size_t>(node);
    const std::string& host = hosts[static_cast<std::size_t>(leaders[n])];
    all.nodes.push_back({host, static_cast<int>(std::count(hosts.begin(), hosts.end(), host)),
                         offsets[n].ahead, offsets[n].error, files[n].write_speed,
                         files[n].read_speed, files[n].seen_after, files[n].fault});
  }
  return all;
}

}  // namespace eyrie::planning
