// Reads and measures machines.
#include "planning/machine.h"

#include <fmt/format.h>

#include <algorithm>
#include <barrier>
#include <chrono>
#include <thread>
#include <vector>

#include "base/config_range.h"
#include "tensor/arena.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/matmul.h"
#include "tensor/threads.h"
#include "trainer/bytes.h"

namespace eyrie::planning {
namespace {

// Reads the FLOPs per second of one rank; below the range the unit was forgotten.
double read_flops(base::Config& section, const std::string& key) {
  const double value = section.get<double>(key);
  if (!(value >= 1e6 && value <= 1e18))
    throw section.error(
        key, fmt::format("{} products a second; it must lie in [1e6, 1e18]: write 3e12 for 3 "
                         "TFLOP/s",
                         value));
  return value;
}

constexpr std::int64_t kLeastBandwidth = 1'000'000;

Machine::Link read_link(base::Config section, const Machine::Link& fallback) {
  Machine::Link link = fallback;
  if (section.has("bandwidth"))
    link.bandwidth =
        static_cast<double>(trainer::read_bytes(section, "bandwidth", kLeastBandwidth));
  link.latency = base::get_number(section, "latency", fallback.latency, 0, 60);
  return link;
}

}  // namespace

Machine read_machine(const base::Path& path) {
  base::Config file = base::Config::read(path);
  Machine machine;
  machine.name = file.get<std::string>("name", path.stem().string());
  // 0: all on one node
  machine.ranks_per_node = static_cast<int>(base::get_whole(file, "ranks_a_node", 0, 0, 1 << 20));
  base::Config flops = file.map("flops");
  if (!flops.has("bf16") && !flops.has("fp32"))
    throw file.error("flops", "products of a rank a second, as {bf16: 1e12, fp32: 2e11}");
  // If one is missing: fp32 is a quarter of bf16, and bf16 as much as fp32.
  if (flops.has("bf16")) machine.flops_bf16 = read_flops(flops, "bf16");
  machine.flops_fp32 = flops.has("fp32") ? read_flops(flops, "fp32") : machine.flops_bf16 / 4;
  if (!flops.has("bf16")) machine.flops_bf16 = machine.flops_fp32;
  machine.efficiency = file.get<double>("efficiency", machine.efficiency);
  if (!(machine.efficiency >= 1e-6 && machine.efficiency <= 1))
    throw file.error("efficiency",
                     fmt::format("{} is no share: above 0, at most 1", machine.efficiency));
  if (file.has("memory_bandwidth"))
    machine.memory_bandwidth =
        static_cast<double>(trainer::read_bytes(file, "memory_bandwidth", kLeastBandwidth));
  machine.node = read_link(file.map("node"), machine.node);
  machine.network = read_link(file.map("network"), machine.network);
  file.finish();
  return machine;
}

Machine measure_machine(tensor::DType compute) {
  Machine machine;
  machine.flops_bf16 = machine.flops_fp32 = tensor::measure_matmul_peak(compute);
  return machine;
}

Machine measure_node(tensor::DType compute, int ranks, int threads) {
  constexpr std::int64_t kSize = 1024, kCopied = std::int64_t{16} << 20;
  constexpr int kRounds = 3;
  std::barrier together(ranks);
  std::vector<double> flops(static_cast<std::size_t>(ranks)), bandwidth(flops.size());
  std::vector<std::jthread> team;
  for (std::size_t rank = 0; rank < flops.size(); ++rank) {
    team.emplace_back([&, rank] {
      tensor::set_thread_count(threads);
      const tensor::Buffer from(kCopied), to(kCopied);
      from.row().f32()[0] = 0;
      const auto copy = [&] { tensor::copy(from.row(), to.row()); };
      copy();  // the first one maps the pages
      for (int round = 0; round < kRounds; ++round) {
        together.arrive_and_wait();
        flops[rank] = std::max(flops[rank], tensor::measure_matmul_peak(compute, kSize, 6));
        together.arrive_and_wait();
        const auto start = std::chrono::steady_clock::now();
        copy();
        const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
        bandwidth[rank] = std::max(bandwidth[rank], 2.0 * kCopied / taken.count());
      }
    });
  }
  team.clear();  // joins
  Machine machine;
  machine.ranks_per_node = ranks;
  machine.flops_bf16 = machine.flops_fp32 = *std::min_element(flops.begin(), flops.end());
  machine.memory_bandwidth = *std::min_element(bandwidth.begin(), bandwidth.end());
  // A message is copied twice.
  machine.node.bandwidth = std::min(machine.node.bandwidth, machine.memory_bandwidth / 2);
  return machine;
}

}  // namespace eyrie::planning
