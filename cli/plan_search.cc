// Searches for eyrie plan: the best meshes of a number of ranks, and the best split of a node's
// cores.
#include "cli/plan_search.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "base/output.h"
#include "tensor/threads.h"
#include "trainer/bytes.h"

namespace eyrie::cli {

using trainer::bytes_text;

std::string seconds_text(double seconds) {
  if (seconds >= 100) return fmt::format("{:.0f} s", seconds);
  if (seconds >= 1) return fmt::format("{:.2f} s", seconds);
  return fmt::format("{:.3f} ms", seconds * 1e3);
}

// Formats the duration of a stage or a run: "3.2 days".
std::string duration_text(double seconds) {
  const auto amount = [](double value, const char* unit) {
    return fmt::format(fmt::runtime(value < 10 ? "{:.1f} {}" : "{:.0f} {}"), value, unit);
  };
  if (seconds >= 86400) return amount(seconds / 86400, "days");
  if (seconds >= 3600) return amount(seconds / 3600, "hours");
  if (seconds >= 60) return amount(seconds / 60, "minutes");
  return amount(seconds, "seconds");
}

double tokens_per_step(const trainer::StageConfig& stage) {
  return static_cast<double>(stage.batch_sequences * stage.sequence_length);
}

namespace {

// Returns the best meshes, the fastest first. Throws InputError if none fits.
std::vector<planning::Candidate> best_of(const trainer::RunConfig& run, int ranks,
                                         const planning::Machine& machine) {
  constexpr std::size_t kMost = 8;
  const trainer::StageConfig& stage = run.stages.front();
  auto found = planning::best_meshes(run, stage, ranks, machine, run.memory_limit);
  if (found.empty()) {
    const auto any = planning::best_meshes(run, stage, ranks, machine, 0);
    if (any.empty())
      throw base::InputError(fmt::format("no mesh of {} fits this run; start another number",
                                         base::counted(ranks, "rank")));
    const auto least = std::min_element(
        any.begin(), any.end(), [](const auto& a, const auto& b) { return a.memory < b.memory; });
    throw base::InputError(fmt::format(
        "no mesh of {} fits memory_limit {}; the least is {} with {}", base::counted(ranks, "rank"),
        bytes_text(run.memory_limit), bytes_text(least->memory), parallel::describe(least->mesh)));
  }
  if (found.size() > kMost) found.erase(found.begin() + kMost, found.end());
  return found;
}

// A split of the cores of every node, with its best mesh, if any fits.
struct Split {
  int ranks, threads;  // ranks of a node, threads of a rank
  planning::Machine machine;
  std::optional<planning::Candidate> best;
};

}  // namespace

void print_best_meshes(const trainer::RunConfig& run, int ranks, const planning::Machine& machine) {
  const trainer::StageConfig& stage = run.stages.front();
  const auto found = best_of(run, ranks, machine);
  base::print(
      "\nmeshes of {}, the fastest first; stage {}{}\n", base::counted(ranks, "rank"), stage.name,
      run.memory_limit > 0 ? fmt::format("; memory at most {}", bytes_text(run.memory_limit)) : "");
  std::size_t width = 4;
  for (const auto& one : found) width = std::max(width, parallel::describe(one.mesh).size());
  base::print("  {:<{}}{:>12}{:>12}{:>12}{:>14}\n", "mesh", width, "memory", "step", "tokens/s",
              "the stage");
  for (const auto& one : found) {
    base::print("  {:<{}}{:>12}{:>12}{:>12.0f}{:>14}\n", parallel::describe(one.mesh), width,
                bytes_text(one.memory), seconds_text(one.time.all()),
                tokens_per_step(stage) / one.time.all(),
                duration_text(one.time.all() * static_cast<double>(stage.steps)));
  }
}

void print_best_meshes_json(const trainer::RunConfig& run, int ranks,
                            const planning::Machine& machine) {
  using nlohmann::json;
  const trainer::StageConfig& stage = run.stages.front();
  json all = {{"ranks", ranks}, {"stage", stage.name}, {"meshes", json::array()}};
  for (const auto& one : best_of(run, ranks, machine)) {
    all["meshes"].push_back({{"mesh", parallel::describe(one.mesh)},
                             {"memory", one.memory},
                             {"step_s", one.time.all()},
                             {"tokens_per_s", tokens_per_step(stage) / one.time.all()},
                             {"duration_s", one.time.all() * static_cast<double>(stage.steps)}});
  }
  base::print_json(all.dump(2) + "\n");
}

void print_splits(const trainer::RunConfig& run, int cores, int nodes, bool as_json) {
  using nlohmann::json;
  const trainer::StageConfig& stage = run.stages.front();
  if (cores > tensor::cores()) {
    throw base::InputError(
        fmt::format("--cores {}: the splits are measured here, where this process may use {}; run "
                    "it on a node of the job, with all of its cores",
                    cores, base::counted(tensor::cores(), "core")));
  }
  const auto compute = run.bf16 ? tensor::DType::kBFloat16 : tensor::DType::kFloat32;
  std::vector<Split> splits;
  for (int threads = 1; threads <= cores; ++threads) {
    if (cores % threads != 0) continue;
    Split split{
        cores / threads, threads, planning::measure_node(compute, cores / threads, threads), {}};
    tensor::set_thread_count(threads);  // the plan has memory for each
    const auto found =
        planning::best_meshes(run, stage, nodes * split.ranks, split.machine, run.memory_limit);
    if (!found.empty()) split.best = found.front();
    splits.push_back(std::move(split));
  }
  const auto seconds = [](const Split& split) {
    return split.best ? split.best->time.all() : 1e300;
  };
  std::stable_sort(splits.begin(), splits.end(),
                   [&](const Split& a, const Split& b) { return seconds(a) < seconds(b); });
  if (as_json) {
    json all = {
        {"cores", cores}, {"nodes", nodes}, {"stage", stage.name}, {"splits", json::array()}};
    for (const Split& split : splits) {
      json one = {{"ranks_per_node", split.ranks},
                  {"threads", split.threads},
                  {"flops", split.machine.flops(compute)},
                  {"memory_bandwidth", split.machine.memory_bandwidth}};
      if (split.best) {
        one["mesh"] = parallel::describe(split.best->mesh);
        one["memory"] = split.best->memory;
        one["step_s"] = split.best->time.all();
        one["tokens_per_s"] = tokens_per_step(stage) / split.best->time.all();
      }
      all["splits"].push_back(one);
    }
    base::print_json(all.dump(2) + "\n");
    return;
  }
  base::print(
      "\n{} cores per node, {}; products and copies as measured here while all ranks of a "
      "node compute; stage {}\n",
      cores, base::counted(nodes, "node"), stage.name);
  base::print("  {:>14}{:>18}{:>14}{:>12}{:>12}{:>12}  {}\n", "ranks x threads", "FLOP/s of a node",
              "copies", "memory", "step", "tokens/s", "the best mesh");
  for (const Split& split : splits) {
    base::print("  {:>7} x {:<5}{:>14.0f} GFLOP/s{:>10.1f} GB/s", split.ranks, split.threads,
                split.machine.flops(compute) * split.ranks / 1e9,
                split.machine.memory_bandwidth * split.ranks / 1e9);
    if (!split.best) {
      base::print("  no mesh of {} fits the run\n", base::counted(nodes * split.ranks, "rank"));
      continue;
    }
    base::print("{:>12}{:>12}{:>12.0f}  {}\n", bytes_text(split.best->memory * split.ranks),
                seconds_text(split.best->time.all()),
                tokens_per_step(stage) / split.best->time.all(),
                parallel::describe(split.best->mesh));
  }
}

}  // namespace eyrie::cli
