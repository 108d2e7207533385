// Reading and measuring machines.
#include "trainer/machine.h"

#include <fmt/format.h>

#include "base/config.h"
#include "tensor/ops/matmul.h"
#include "trainer/bytes.h"

namespace eyrie::trainer {
namespace {

double positive(base::Config& section, const std::string& key, double fallback) {
  const double value = section.get<double>(key, fallback);
  if (!(value > 0)) throw section.error(key, fmt::format("{} is not above 0", value));
  return value;
}

Machine::Link read_link(base::Config section, const Machine::Link& fallback) {
  Machine::Link link = fallback;
  if (section.has("bandwidth"))
    link.bandwidth = static_cast<double>(read_bytes(section, "bandwidth"));
  link.latency = section.get<double>("latency", fallback.latency);
  if (!(link.latency >= 0)) throw section.error("latency", "seconds, at least 0");
  return link;
}

}  // namespace

Machine read_machine(const base::Path& path) {
  base::Config file = base::Config::read(path);
  Machine machine;
  machine.name = file.get<std::string>("name", path.stem().string());
  const auto ranks = file.get<std::int64_t>("ranks_a_node", 0);
  if (ranks < 0 || ranks > 1 << 20)
    throw file.error("ranks_a_node", fmt::format("{}: from 1, or 0: all on one node", ranks));
  machine.ranks_a_node = static_cast<int>(ranks);
  base::Config flops = file.map("flops");
  if (!flops.has("bf16") && !flops.has("fp32"))
    throw file.error("flops", "products of a rank a second, as {bf16: 1e12, fp32: 2e11}");
  // Of one that is absent: a quarter of bf16, or as much as fp32.
  if (flops.has("bf16")) machine.flops_bf16 = positive(flops, "bf16", 1);
  machine.flops_fp32 = flops.has("fp32") ? positive(flops, "fp32", 1) : machine.flops_bf16 / 4;
  if (!flops.has("bf16")) machine.flops_bf16 = machine.flops_fp32;
  machine.efficiency = positive(file, "efficiency", machine.efficiency);
  if (machine.efficiency > 1) throw file.error("efficiency", "a share: at most 1");
  if (file.has("memory_bandwidth"))
    machine.memory_bandwidth = static_cast<double>(read_bytes(file, "memory_bandwidth"));
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

}  // namespace eyrie::trainer
