// Plans of runs: memory limits, what metrics say was exchanged, machines, and the search for
// meshes.
#include "planning/plan.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "base/host_memory.h"
#include "planning/memory_limit.h"
#include "support/tiny_run.h"
#include "trainer/resolve_mesh.h"
#include "trainer/trainer.h"

namespace eyrie::planning {
namespace {

using parallel::MeshShape;
using trainer::check_threads;
using trainer::mesh_error;
using trainer::Outcome;
using trainer::train;

const test::TinyRun& data() {
  static const test::TinyRun run;
  return run;
}

template <class Body>
std::string refusal(const Body& body) {
  try {
    body();
  } catch (const base::InputError& error) {
    return error.what();
  }
  return "";
}

// What every step's line says is the plan's sum over all ranks, from the first step of a process
// on, in both stages and with validations between.
TEST(Plan, MetricsSayWhatWasExchanged) {
  int number = 0;
  for (const MeshShape& mesh :
       {MeshShape{.data = 2, .zero = 1}, MeshShape{.data = 2, .context = 2, .zero = 3},
        MeshShape{.data = 2, .tensor = 2, .sequence = true, .zero = 2}}) {
    const RunConfig run = data().config(
        fmt::format("exchanged-{}", number++),
        {fmt::format("mesh.data={}", mesh.data), fmt::format("mesh.context={}", mesh.context),
         fmt::format("mesh.tensor={}", mesh.tensor), fmt::format("mesh.zero={}", mesh.zero),
         fmt::format("mesh.sequence={}", mesh.sequence), "precision=bf16"});
    for (const std::int64_t stop_after : {3, 0}) {  // the second time it goes on
      parallel::run_in_process(mesh.ranks(), [&](parallel::Communicator& world) {
        train(run, world, {.plan_memory = plan_memory, .stop_after = stop_after}, nullptr);
      });
    }
    std::ifstream lines(run.directory + "/metrics.jsonl");
    int steps = 0;
    for (std::string line; std::getline(lines, line);) {
      const auto json = nlohmann::json::parse(line);
      if (!json.contains("exchange_bytes")) continue;
      const StageConfig& stage = run.stages[json.at("stage") == "first" ? 0 : 1];
      EXPECT_EQ(json.at("exchange_bytes").get<std::int64_t>(),
                MeshPlan(run.model, step_shape(run, stage, mesh)).sent_by_all())
          << parallel::describe(mesh) << ", step " << json.at("step");
      ++steps;
    }
    EXPECT_EQ(steps, 9);
  }
}

RunConfig long_run(const std::string& limit, std::int64_t length = 1 << 20) {
  return data().config("long",
                       {"memory_limit=" + limit, fmt::format("stages.0.sequence_length={}", length),
                        "stages.0.batch_sequences=1", "stages.0.micro_shards=1",
                        "stages.0.validate.sequences=0", "stages.1.micro_shards=1"});
}

// A sequence of a million tokens: too much for one rank, and not for four.
TEST(MemoryLimit, RefusesOnOneRankWhatFitsFour) {
  const RunConfig run = long_run("4GB");
  EXPECT_EQ(refusal([&] { check_memory(run, {.context = 4}); }), "");
  const std::string text = refusal([&] { check_memory(run, {}); });
  EXPECT_TRUE(
      text.starts_with("memory_limit is 4.00 GB, but a rank of data 1 × context 1 × tensor "
                       "1, ZeRO 1 would need "))
      << text;
  EXPECT_NE(text.find(" GB: activations "), std::string::npos) << text;
  EXPECT_NE(text.find("No mesh of 1 rank fits; of 4 ranks: "), std::string::npos) << text;
  EXPECT_NE(text.find("; data 1 × context 4 × tensor 1, ZeRO 1 ("), std::string::npos) << text;
  const RunConfig short_run = long_run("4GB", 512);
  EXPECT_EQ(refusal([&] { check_memory(short_run, {}); }), "");
}

// One step of such a sequence under such a limit, by a smaller model still.
TEST(MemoryLimit, AMillionTokensTrainOnFourRanks) {
  const std::vector<std::string> changes = {"memory_limit=900MB",
                                            "precision=bf16",
                                            "model.width=16",
                                            "model.rnn_width=16",
                                            "model.mlp_width=16",
                                            "model.heads=2",
                                            "model.gate_blocks=2",
                                            "model.layers=RA",
                                            "model.window=16",
                                            "stages.0.steps=2",
                                            "stages.0.sequence_length=1048576",
                                            "stages.0.batch_sequences=1",
                                            "stages.0.micro_shards=1",
                                            "stages.0.validate.sequences=0",
                                            "stages.1.steps=4"};
  EXPECT_NE(refusal([&] { check_memory(data().config("million", changes), {}); }), "");
  auto on_four = changes;
  on_four.push_back("mesh.context=4");
  const RunConfig run = data().config("million", on_four);
  parallel::run_in_process(4, [&](parallel::Communicator& world) {
    EXPECT_EQ(train(run, world, {.plan_memory = plan_memory, .stop_after = 1}, nullptr),
              Outcome::kStopped);
  });
  std::ifstream lines(run.directory + "/metrics.jsonl");
  std::string line;
  std::getline(lines, line);
  EXPECT_EQ(nlohmann::json::parse(line).at("tokens"), 1 << 20);
}

TEST(MemoryLimit, NamesMeshesOfTheSameRanks) {
  RunConfig run = long_run("5GB");
  for (StageConfig& stage : run.stages) stage.batch_sequences = stage.micro_shards = 2;
  const std::string text = refusal([&] { check_memory(run, {.data = 2, .tensor = 2}); });
  EXPECT_NE(text.find("The nearest meshes of 4 ranks that fit: data 1 × context 2 × tensor 2"),
            std::string::npos)
      << text;
}

// Also where only the check is asked for, before any data is opened; and on all ranks alike.
TEST(MemoryLimit, IsPartOfTheCheck) {
  const RunConfig run = long_run("4GB");
  for (const bool check : {false, true}) {
    EXPECT_NE(refusal([&] {
                parallel::run_in_process(1, [&](parallel::Communicator& world) {
                  train(run, world, {.check = check, .plan_memory = plan_memory}, nullptr);
                });
              }).find("memory_limit is 4.00 GB"),
              std::string::npos);
  }
}

TEST(MemoryLimit, TellsSettingsThatWouldFit) {
  RunConfig run = data().config("tight");
  const std::int64_t needed = memory_needed(run, {}).all();
  RunConfig waiting = run;
  waiting.checkpoint_async = false;
  const std::int64_t less = memory_needed(waiting, {}).all();
  EXPECT_EQ(needed - less, 12 * 59688);  // the copy of all parameters and moments
  run.memory_limit = less;
  EXPECT_NE(refusal([&] { check_memory(run, {}); }).find("With checkpoint.async: false this mesh"),
            std::string::npos);
  EXPECT_EQ(refusal([&] {
              waiting.memory_limit = less;
              check_memory(waiting, {});
            }),
            "");
}

TEST(MemoryLimit, DecidesWhatIsComputedAgain) {
  using model::Recompute;
  constexpr Recompute kAll[] = {Recompute::kNone, Recompute::kMlp, Recompute::kBlocks};
  RunConfig run = long_run("100GB");
  std::vector<std::int64_t> needed;
  for (const Recompute recompute : kAll) {
    run.recompute = recompute;
    needed.push_back(memory_needed(run, {}).all());
  }
  EXPECT_GT(needed[0], needed[1]);
  EXPECT_GT(needed[1], needed[2]);
  run.recompute = Recompute::kNone;
  run.recompute_auto = true;
  for (std::size_t i = 0; i < needed.size(); ++i) {
    run.memory_limit = needed[i];
    const auto planned = plan_memory(run, {}, 1, true);
    EXPECT_EQ(planned.recompute, kAll[i]);
    EXPECT_EQ(planned.bytes, needed[i]);
  }
  run.memory_limit = needed[2] - 1;
  EXPECT_NE(refusal([&] { plan_memory(run, {}, 1, true); }).find("memory_limit is"),
            std::string::npos);
  run.memory_limit = needed[1];
  run.recompute_auto = false;
  EXPECT_NE(refusal([&] { check_memory(run, {}); }).find("With recompute: [mlp] this mesh needs"),
            std::string::npos);
}

TEST(MemoryLimit, IsReadWithItsUnit) {
  EXPECT_EQ(data().config("limited", {"memory_limit=24GB"}).memory_limit, 24'000'000'000);
  EXPECT_EQ(data().config("limited", {}).memory_limit, 0);
  EXPECT_NE(refusal([] {
              data().config("limited", {"memory_limit=much"});
            }).find("memory_limit: 'much' is no amount of bytes above 0; write it as 24GB"),
            std::string::npos);
}

// A number without its unit is told as that.
TEST(MemoryLimit, IsNoSmallNumber) {
  const std::string text = refusal([] { data().config("limited", {"memory_limit=24"}); });
  EXPECT_NE(text.find("'24' is 24 bytes; it must be at least 1.0 MB (is the unit missing? write "
                      "24GB or 24MB)"),
            std::string::npos)
      << text;
}

// Without a limit the host's memory is one, for the ranks on it; a limit is believed.
TEST(HostMemory, IsComparedWithThePlan) {
  RunConfig run = data().config("hosted");
  const std::int64_t each = memory_needed(run, {.data = 2}).all();
  const auto check = [&](std::int64_t most, std::int64_t left, bool elsewhere = false) {
    return check_host_memory(run, {.data = 2}, {most, left, "this machine"}, 2, elsewhere);
  };
  EXPECT_EQ(check(3 * each, 3 * each), "");
  EXPECT_NE(check(3 * each, each).find(" are free now"), std::string::npos);
  const std::string text = refusal([&] { check(2 * each - 10, each); });
  EXPECT_TRUE(
      text.starts_with("2 ranks of data 2 × context 1 × tensor 1, ZeRO 1 on one host need "))
      << text;
  EXPECT_NE(text.find("but this machine has "), std::string::npos) << text;
  EXPECT_NE(text.find("memory_limit"), std::string::npos) << text;
  EXPECT_NE(check(2 * each - 10, each, true).find("Are those of the job larger?"),
            std::string::npos);
  EXPECT_EQ(check(0, 0), "");  // not known
  run.memory_limit = each;
  EXPECT_NE(check(2 * each - 10, each).find("allows it"), std::string::npos);
  EXPECT_EQ(check(2 * each - 10, each, true), "");
}

TEST(HostMemory, AbsurdPlansAreRefusedWhereverTheyAreToRun) {
  const RunConfig run = data().config(
      "absurd", {"stages.0.batch_sequences=1Gi", "stages.0.micro_shards=1",
                 "stages.0.sequence_length=2", "model.width=4096", "model.rnn_width=4096"});
  EXPECT_NE(refusal([&] {
              check_host_memory(run, {}, {1, 1, "this machine"}, 1, true);
            }).find("the largest host has 70.37 TB"),
            std::string::npos);
}

TEST(HostMemory, SoIsTheNumberOfThreads) {
  RunConfig run = data().config("threads");
  run.threads = base::host_processors();
  EXPECT_EQ(check_threads(run, false), "");
  run.threads = base::most_threads();
  EXPECT_NE(check_threads(run, false), "");
  ++run.threads;
  EXPECT_NE(refusal([&] { check_threads(run, false); }).find("threads"), std::string::npos);
  EXPECT_NE(check_threads(run, true), "");
}

Machine described(const std::string& yaml) {
  const auto file = data().path() / "machine.yaml";
  std::ofstream(file) << yaml;
  return read_machine(file);
}

TEST(Machine, IsReadAndChecked) {
  const Machine machine = described(
      "name: cluster\nranks_a_node: 8\nflops: {bf16: 3e12, fp32: 4e11}\nefficiency: 0.6\n"
      "memory_bandwidth: 20GB\nnode: {bandwidth: 10GB, latency: 2e-6}\nnetwork: {bandwidth: "
      "2GB}\n");
  EXPECT_EQ(machine.flops(tensor::DType::kBFloat16), 3e12);
  EXPECT_EQ(machine.link(8).bandwidth, 1e10);
  EXPECT_EQ(machine.link(9).bandwidth, 2e9);
  EXPECT_EQ(described("flops: {fp32: 4e11}\n").flops(tensor::DType::kBFloat16), 4e11);
  EXPECT_EQ(described("flops: {bf16: 4e11}\n").flops(tensor::DType::kFloat32), 1e11);
  EXPECT_NE(refusal([] { described("flops: {}\n"); }).find("flops"), std::string::npos);
  EXPECT_NE(refusal([] { described("flops: {bf16: 1e12}\neficiency: 1\n"); }).find("efficiency"),
            std::string::npos);
  EXPECT_NE(refusal([] { described("flops: {bf16: 1e12}\nefficiency: 50\n"); }).find("at most 1"),
            std::string::npos);
}

TEST(Machine, NumbersWithoutTheirUnitsAreRefused) {
  for (const char* wrong :
       {"flops: {bf16: 3}", "flops: {bf16: -1e12}", "flops: {bf16: 1e12}\nefficiency: 0",
        "flops: {bf16: 1e12}\nmemory_bandwidth: 20", "flops: {bf16: 1e12}\nnode: {bandwidth: 20}",
        "flops: {bf16: 1e12}\nnetwork: {latency: -1}", "flops: {bf16: 1e12}\nranks_a_node: -1",
        "flops: {bf16: 1e12}\nranks_a_node: 9e18"})
    EXPECT_NE(refusal([&] { described(wrong); }).find("machine.yaml:"), std::string::npos) << wrong;
}

// All pairs of ranks by the way that is long; and as many ranks as any job has, at once.
TEST(Plan, LargeMeshesArePlannedByStandIns) {
  const RunConfig run = data().config("large", {"stages.0.sequence_length=256", "model.window=20"});
  const parallel::MeshShape mesh{.data = 1, .context = 16, .tensor = 2, .zero = 2};
  const StepShape shape = step_shape(run, run.stages[0], mesh);
  const MeshPlan plan(run.model, shape);
  for (int context = 0; context < 16; ++context) {
    const PassPlan whole = plan_pass(run.model, {.compute = shape.compute,
                                                 .sequences = shape.sequences,
                                                 .length = shape.length,
                                                 .mesh = mesh,
                                                 .context_rank = context,
                                                 .tensor_rank = 1});
    EXPECT_EQ(plan.pass(context, 1).context_sent, whole.context_sent) << context;
    EXPECT_EQ(plan.pass(context, 1).tensor_sent, whole.tensor_sent) << context;
    EXPECT_EQ(plan.pass(context, 1).saved_touched, whole.saved_touched) << context;
    EXPECT_EQ(plan.pass(context, 1).scratch_touched, whole.scratch_touched) << context;
  }
}

TEST(Plan, TimeFollowsTheMachine) {
  const RunConfig run = data().config("timed");
  const MeshPlan plan(run.model, step_shape(run, run.stages[0], {.data = 2, .context = 2}));
  Machine machine;
  machine.flops_bf16 = machine.flops_fp32 = 1e11;
  const StepTime before = step_time(run, plan, machine);
  EXPECT_DOUBLE_EQ(before.products,
                   step_flops(run, plan.shape()) / 4 / (1e11 * machine.efficiency));
  machine.flops_fp32 *= 2;
  machine.node.latency /= 2;
  machine.node.bandwidth *= 2;
  const StepTime after = step_time(run, plan, machine);
  EXPECT_DOUBLE_EQ(after.products, before.products / 2);
  EXPECT_DOUBLE_EQ(after.context, before.context / 2);
  EXPECT_DOUBLE_EQ(after.gather, before.gather / 2);
  EXPECT_EQ(after.tensor, 0);
  machine.ranks_per_node = 1;  // all goes over the network
  EXPECT_GT(step_time(run, plan, machine).context, after.context);
}

TEST(Plan, TheBestMeshesFitTheLimitAndAreSorted) {
  const RunConfig run = data().config("searched", {"stages.0.sequence_length=4096"});
  Machine machine;
  machine.flops_bf16 = machine.flops_fp32 = 1e11;
  const auto all = best_meshes(run, run.stages[0], 4, machine, 0);
  ASSERT_GT(all.size(), 8u);
  std::int64_t least = all[0].memory, most = 0;
  for (std::size_t i = 0; i < all.size(); ++i) {
    EXPECT_EQ(all[i].mesh.ranks(), 4);
    EXPECT_EQ(mesh_error(run, all[i].mesh), "");
    EXPECT_GE(all[i].time.all(), all[i == 0 ? 0 : i - 1].time.all());
    least = std::min(least, all[i].memory);
    most = std::max(most, all[i].memory);
  }
  const auto some = best_meshes(run, run.stages[0], 4, machine, (least + most) / 2);
  EXPECT_LT(some.size(), all.size());
  EXPECT_GT(some.size(), 0u);
  EXPECT_TRUE(best_meshes(run, run.stages[0], 4, machine, least - 1).empty());
}

}  // namespace
}  // namespace eyrie::planning
