// eyrie plan RUN.yaml: estimates memory and time of a run on a mesh, and finds the best meshes for
// it, before a job is queued. Needs no data and starts no ranks.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/error.h"
#include "base/listing.h"
#include "base/output.h"
#include "cli/command.h"
#include "cli/flags.h"
#include "cli/plan_search.h"
#include "planning/plan.h"
#include "tensor/threads.h"
#include "trainer/bytes.h"
#include "trainer/resolve_mesh.h"

namespace eyrie::cli {
namespace {

using trainer::bytes_text;

// Turns "data=8,tensor=4,sequence" into assignments to the run's `mesh`.
std::vector<std::string> mesh_assignments(const std::string& text) {
  std::vector<std::string> assignments;
  std::istringstream parts(text);
  for (std::string part; std::getline(parts, part, ',');) {
    if (part.empty()) continue;
    const bool flag = part.find('=') == std::string::npos;
    if (flag && part != "sequence") {
      throw base::InputError(fmt::format(
          "--mesh {}: '{}' has no number; write it as data=8,context=2,tensor=4,sequence,zero=3",
          text, part));
    }
    assignments.push_back("mesh." + part + (flag ? "=true" : ""));
  }
  return assignments;
}

void print_machine(const planning::Machine& machine, const trainer::RunConfig& run, bool measured) {
  const auto compute = run.bf16 ? tensor::DType::kBFloat16 : tensor::DType::kFloat32;
  base::print(
      "machine    {}: a rank {:.1f} GFLOP/s in {} ({}), of which products reach {:.0f} %; "
      "memory {}/s; links {}/s in a node, {}/s between nodes; {} ranks a node\n",
      machine.name, machine.flops(compute) * 1e-9, name_of(compute),
      measured ? fmt::format("measured on {} of this machine and taken for every rank",
                             base::counted(tensor::thread_count(), "thread"))
               : "as described",
      machine.efficiency * 100, bytes_text(static_cast<std::int64_t>(machine.memory_bandwidth)),
      bytes_text(static_cast<std::int64_t>(machine.node.bandwidth)),
      bytes_text(static_cast<std::int64_t>(machine.network.bandwidth)),
      machine.ranks_per_node == 0 ? "all" : std::to_string(machine.ranks_per_node));
  if (measured)
    base::print(
        "           (bandwidths, latencies and efficiency are defaults; --machine FILE "
        "describes another: docs/planning.md)\n");
}

void print_mesh(const trainer::RunConfig& run, const parallel::MeshShape& mesh,
                const planning::Machine& machine) {
  base::print("mesh       {}: {}\n", parallel::describe(mesh), base::counted(mesh.ranks(), "rank"));
  if (run.recompute_auto) base::print("recompute  auto: {}\n", model::name_of(run.recompute));
  const planning::RankMemory memory = planning::memory_needed(run, mesh);
  base::print(
      "\nmemory of the rank that needs most{}\n",
      run.memory_limit > 0 ? fmt::format(" (memory_limit {})", bytes_text(run.memory_limit)) : "");
  base::print("  {:<16}{:>12}{}\n", "total", bytes_text(memory.all()),
              run.memory_limit > 0 && memory.all() > run.memory_limit ? "  ABOVE THE LIMIT" : "");
  for (const planning::MemoryPart& part : planning::memory_parts(memory))
    base::print("  {:<16}{:>12}  {}\n", part.name, bytes_text(part.bytes), part.note);
  double all_seconds = 0, all_tokens = 0;
  for (const trainer::StageConfig& stage : run.stages) {
    const planning::MeshPlan plan(run.model, planning::step_shape(run, stage, mesh));
    base::print(
        "\nstage {}: a step of {} sequences of {} tokens in {} micro-shards, {} of a rank\n",
        stage.name, stage.batch_sequences, stage.sequence_length, stage.micro_shards,
        plan.micro_shards_per_rank());
    base::print("  {:<16}{:>12.3g}\n", "FLOPs", planning::step_flops(run, plan.shape()));
    const parallel::AxisBytes sent = planning::most_sent(plan);
    base::print("  bytes that a rank sends (the one that sends most)\n");
    const auto amount = [](const char* what, std::int64_t bytes) {
      if (bytes > 0) base::print("    {:<14}{:>12}\n", what, bytes_text(bytes));
    };
    amount("data, sharing", sent.shard);
    amount("replicas", sent.replicate);
    amount("context", sent.context);
    amount("tensor", sent.tensor);
    amount("in all", sent.all());
    base::print("    {:<14}{:>12}  exchange_bytes of metrics.jsonl\n", "of all ranks",
                bytes_text(plan.sent_by_all()));
    const planning::StepTime time = planning::step_time(run, plan, machine);
    base::print("  time of a step\n");
    const auto part = [](const char* what, double seconds, const char* note) {
      if (seconds > 0) base::print("    {:<14}{:>12}  {}\n", what, seconds_text(seconds), note);
    };
    part("products", time.products, "");
    part("elementwise", time.elementwise, "activations through memory");
    part("update", time.update, "the optimizer, and sums of micro-shards");
    part("tensor", time.tensor, "exchanged inside layers");
    part("context", time.context, "exchanged inside layers");
    part("waiting", time.waiting, "for gradients and fetched parameters, beyond what is hidden");
    part("gather", time.gather, "of parameters, after the update");
    part("in all", time.all(), "");
    base::print("    {:<14}{:>12.0f}\n", "tokens/s", tokens_per_step(stage) / time.all());
    const double seconds = time.all() * static_cast<double>(stage.steps);
    base::print("  {:<16}{:>12}  {} steps, {:.3g} tokens\n", "time of the stage",
                duration_text(seconds), stage.steps,
                tokens_per_step(stage) * static_cast<double>(stage.steps));
    all_seconds += seconds;
    all_tokens += tokens_per_step(stage) * static_cast<double>(stage.steps);
  }
  base::print(
      "\ntime of the run    {}, {:.3g} tokens, {:.3g} rank-hours; validation, evaluation and "
      "stops come on top\n",
      duration_text(all_seconds), all_tokens, all_seconds / 3600 * mesh.ranks());
}

// The same as JSON, for scripts; in bytes and seconds.
void print_json(const trainer::RunConfig& run, const parallel::MeshShape& mesh,
                const planning::Machine& machine) {
  using nlohmann::json;
  const planning::RankMemory memory = planning::memory_needed(run, mesh);
  json all = {{"mesh", parallel::describe(mesh)},
              {"ranks", mesh.ranks()},
              {"memory", {{"all", memory.all()}}},
              {"stages", json::array()}};
  for (const planning::MemoryPart& part : planning::memory_parts(memory))
    all["memory"][part.name] = part.bytes;
  double seconds = 0;
  for (const trainer::StageConfig& stage : run.stages) {
    const planning::MeshPlan plan(run.model, planning::step_shape(run, stage, mesh));
    const parallel::AxisBytes sent = planning::most_sent(plan);
    const planning::StepTime time = planning::step_time(run, plan, machine);
    all["stages"].push_back({{"name", stage.name},
                             {"flops", planning::step_flops(run, plan.shape())},
                             {"sent",
                              {{"sharing", sent.shard},
                               {"replicas", sent.replicate},
                               {"context", sent.context},
                               {"tensor", sent.tensor},
                               {"all", sent.all()},
                               {"of_all_ranks", plan.sent_by_all()}}},
                             {"time",
                              {{"products", time.products},
                               {"elementwise", time.elementwise},
                               {"update", time.update},
                               {"tensor", time.tensor},
                               {"context", time.context},
                               {"gradients", time.gradients},
                               {"fetches", time.fetches},
                               {"waiting", time.waiting},
                               {"gather", time.gather},
                               {"all", time.all()}}},
                             {"tokens_per_s", tokens_per_step(stage) / time.all()},
                             {"steps", stage.steps},
                             {"duration_s", time.all() * static_cast<double>(stage.steps)}});
    seconds += time.all() * static_cast<double>(stage.steps);
  }
  all["duration_s"] = seconds;
  base::print_json(all.dump(2) + "\n");
}

}  // namespace

int run_plan(int argc, char** argv) {
  std::string file, mesh, machine_file;
  std::optional<int> ranks, cores, nodes;
  bool as_json = false;
  std::vector<std::string> assignments;
  CLI::App app(
      "Shows what a run needs and costs on a mesh: memory of a rank, FLOPs, bytes between ranks, "
      "time of a step. With --ranks and no --mesh, the best meshes of so many ranks; with --cores, "
      "the best split of a node's cores into ranks and threads. Needs no data.",
      argv[0]);
  app.add_option("RUN.yaml", file, "the run, or the folder of one that has begun")->required();
  app.add_option("ASSIGNMENTS", assignments, "key.path=value, over the file");
  app.add_option("--mesh", mesh,
                 "over the run's, as data=8,context=2,tensor=4,sequence,zero=3,replicas=2");
  add_whole(app, "--ranks", ranks, "of the job", 1, 1 << 20);
  app.add_option("--machine", machine_file, "YAML that describes it (docs/planning.md)");
  add_whole(app, "--cores", cores, "of a node like this one: measures each split of them", 1,
            1 << 12);
  for (const char* other : {"--mesh", "--ranks", "--machine"})
    app.get_option("--cores")->excludes(app.get_option(other));
  add_whole(app, "--nodes", nodes, "with --cores: how many nodes (1)", 1, 1 << 16)
      ->needs(app.get_option("--cores"));
  app.add_flag("--json", as_json, "for scripts: one JSON object");
  if (const auto end = parse(app, argc, argv)) return *end;
  for (const std::string& assignment : mesh_assignments(mesh)) assignments.push_back(assignment);
  if (base::is_folder(file)) file += "/run.yaml";  // the configuration as it ran
  trainer::RunConfig run = trainer::read_run(file, assignments);
  if (cores) {
    print_splits(run, *cores, nodes.value_or(1), as_json);
    return base::kExitDone;
  }
  if (run.threads > 0) tensor::set_thread_count(static_cast<int>(run.threads));
  const planning::Machine machine =
      machine_file.empty()
          ? planning::measure_machine(run.bf16 ? tensor::DType::kBFloat16 : tensor::DType::kFloat32)
          : planning::read_machine(machine_file);
  const bool search = ranks && mesh.empty();
  const int filled =
      ranks.value_or(std::max(run.mesh.data, 1) * run.mesh.context * run.mesh.tensor);
  const int hosts = machine.ranks_per_node == 0
                        ? 1
                        : (filled + machine.ranks_per_node - 1) / machine.ranks_per_node;
  const parallel::MeshShape wanted = search ? run.mesh : trainer::resolve_mesh(run, filled, hosts);
  if (!search) run = planning::with_recompute(run, wanted, run.memory_limit);
  if (as_json) {
    if (search) {
      print_best_meshes_json(run, *ranks, machine);
    } else {
      print_json(run, wanted, machine);
    }
    return base::kExitDone;
  }
  base::print("run        {}: {}, {}\n", run.name, model::title_of(run.model, true),
              base::counted(static_cast<std::int64_t>(run.stages.size()), "stage"));
  print_machine(machine, run, machine_file.empty());
  if (search) {
    print_best_meshes(run, *ranks, machine);
  } else {
    print_mesh(run, wanted, machine);
  }
  return base::kExitDone;
}

}  // namespace eyrie::cli
