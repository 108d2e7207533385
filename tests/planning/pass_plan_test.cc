// Passes on meta against what passes really take and send, to the byte, on one rank and on context
// and tensor ranks; and what the context axis is for: a long sequence's memory.
#include "planning/pass_plan.h"

#include <gtest/gtest.h>

#include "model/token_loss.h"
#include "model/training_parameters.h"
#include "tensor/threads.h"

namespace eyrie::planning {
namespace {

using model::Griffin;
using model::GriffinConfig;
using tensor::DType;

struct Gradients : model::GradientSink {
  explicit Gradients(const std::vector<parallel::Unit>& units) {
    for (const auto& unit : units) buffers.emplace_back(static_cast<std::size_t>(unit.size), 0.0f);
  }
  tensor::Tensor gradient(std::size_t unit) override { return tensor::host_row(buffers[unit]); }
  void finished(std::size_t) override {}
  std::vector<std::vector<float>> buffers;
};

struct Case {
  GriffinConfig config;
  DType compute = DType::kFloat32;
  std::int64_t sequences = 1, length = 64;
  int context = 1, tensor = 1;
  bool sequence = false, training = true;
  model::Recompute recompute = model::Recompute::kNone;
  int threads = 1;
};

GriffinConfig config_of(const std::string& layers, std::int64_t vocabulary = 261,
                        std::int64_t window = 9) {
  GriffinConfig config;
  config.preset = "sized";
  config.heads = config.gate_blocks = 8;
  config.width = 32;
  config.rnn_width = 56;
  config.mlp_width = 40;
  config.vocabulary = vocabulary;
  config.layers = layers;
  config.window = window;
  check(config);
  return config;
}

struct Measured {
  std::int64_t saved_held = 0, scratch_held = 0, saved = 0, scratch = 0;
  std::int64_t saved_touched = 0, scratch_touched = 0;
  std::int64_t context_sent = 0, tensor_sent = 0;
};

// Of every rank, by its number: context · tensor ranks + tensor rank. With `seamless` the arenas
// are one chunk.
std::vector<Measured> measure(const Case& c, bool seamless, int passes = 3) {
  const parallel::MeshShape shape{
      .context = c.context, .tensor = c.tensor, .sequence = c.sequence, .zero = 0};
  std::vector<Measured> all(static_cast<std::size_t>(shape.ranks()));
  parallel::run_in_process(shape.ranks(), [&](parallel::Communicator& world) {
    tensor::set_thread_count(c.threads);
    const parallel::Mesh mesh(world, shape);
    Griffin griffin(c.config, model::ParallelContext::of(mesh));
    griffin.set_recompute(c.recompute);
    model::TrainingParameters parameters(griffin.units(), c.compute);
    parameters.initialise(1);
    const auto n = static_cast<std::size_t>(c.sequences * c.length);
    std::vector<std::int32_t> tokens(n, 3), positions(n);
    for (std::size_t t = 0; t < n; ++t)
      positions[t] = static_cast<std::int32_t>(t % static_cast<std::size_t>(c.length));
    const std::vector<float> weight(n, 1.0f);
    const std::size_t chunk = (seamless ? std::size_t{256} : std::size_t{8}) << 20;
    model::Workspace workspace(tensor::Device::kCpu, chunk);
    Gradients gradients(griffin.units());
    const model::TargetBatch batch{
        {c.sequences, c.length, tensor::host_row(tokens), tensor::host_row(positions)},
        tensor::host_row(tokens),
        tensor::host_row(weight)};
    Measured& one = all[static_cast<std::size_t>(world.rank())];
    for (int pass = 0; pass < passes; ++pass) {
      one.context_sent = -mesh.context().bytes_sent();
      one.tensor_sent = -mesh.tensor().bytes_sent();
      if (c.training) {
        model::token_loss(griffin, parameters, batch, workspace, 1.0f, gradients);
      } else {
        model::token_nll(griffin, parameters, batch, workspace);
      }
      one.context_sent += mesh.context().bytes_sent();
      one.tensor_sent += mesh.tensor().bytes_sent();
    }
    one.saved_held = static_cast<std::int64_t>(workspace.saved.held_bytes());
    one.scratch_held = static_cast<std::int64_t>(workspace.scratch.held_bytes());
    one.saved_touched = static_cast<std::int64_t>(workspace.saved.touched_bytes());
    one.scratch_touched = static_cast<std::int64_t>(workspace.scratch.touched_bytes());
    one.saved = static_cast<std::int64_t>(workspace.saved.peak_bytes());
    one.scratch = static_cast<std::int64_t>(workspace.scratch.peak_bytes());
  });
  return all;
}

PassPlan predict(const Case& c, int rank) {
  tensor::set_thread_count(c.threads);
  return plan_pass(c.config,
                   {.compute = c.compute,
                    .sequences = c.sequences,
                    .length = c.length,
                    .mesh = {.context = c.context, .tensor = c.tensor, .sequence = c.sequence},
                    .context_rank = rank / c.tensor,
                    .tensor_rank = rank % c.tensor,
                    .training = c.training,
                    .recompute = c.recompute});
}

void expect_alike(const Case& c) {
  SCOPED_TRACE(testing::Message() << c.config.layers << ", " << name_of(c.compute) << ", "
                                  << c.sequences << " x " << c.length << ", context " << c.context
                                  << ", tensor " << c.tensor << (c.sequence ? ", sequence" : "")
                                  << (c.training ? "" : ", loss alone") << ", recompute "
                                  << model::name_of(c.recompute));
  const auto chunks = measure(c, false), seamless = measure(c, true);
  for (int rank = 0; rank < c.context * c.tensor; ++rank) {
    SCOPED_TRACE(rank);
    const PassPlan plan = predict(c, rank);
    const auto r = static_cast<std::size_t>(rank);
    EXPECT_EQ(plan.saved_held, chunks[r].saved_held);
    EXPECT_EQ(plan.scratch_held, chunks[r].scratch_held);
    EXPECT_EQ(plan.saved_touched, chunks[r].saved_touched);
    EXPECT_EQ(plan.scratch_touched, chunks[r].scratch_touched);
    EXPECT_EQ(plan.activations, seamless[r].saved);
    EXPECT_EQ(std::max(plan.logits, plan.backward), seamless[r].scratch);
    EXPECT_EQ(plan.context_sent, chunks[r].context_sent);
    EXPECT_EQ(plan.tensor_sent, chunks[r].tensor_sent);
  }
}

TEST(PlanPass, Recomputation) {
  for (const DType compute : {DType::kFloat32, DType::kBFloat16}) {
    for (const auto& [context, tensor, sequence] :
         {std::array{1, 1, 0}, {1, 2, 0}, {1, 2, 1}, {3, 1, 0}, {2, 2, 1}}) {
      for (const auto recompute : {model::Recompute::kMlp, model::Recompute::kBlocks}) {
        expect_alike({.config = config_of("RAGR"),
                      .compute = compute,
                      .sequences = 2,
                      .length = 211,
                      .context = context,
                      .tensor = tensor,
                      .sequence = sequence != 0,
                      .recompute = recompute});
      }
    }
  }
}

TEST(PlanPass, OneRank) {
  for (const DType compute : {DType::kFloat32, DType::kBFloat16}) {
    expect_alike({config_of("RRA"), compute, 2, 200});
    expect_alike({config_of("GRA", 20000), compute, 1, 700});
    expect_alike({.config = config_of("RAG"),
                  .compute = compute,
                  .sequences = 3,
                  .length = 150,
                  .training = false});
  }
  for (const int threads : {2, 5}) {
    expect_alike(
        {.config = config_of("GRA", 261, 70), .sequences = 2, .length = 330, .threads = threads});
  }
  GriffinConfig config = model::preset("griffin-10m");  // pieces larger than a chunk
  config.vocabulary = 1000;
  config.layers = "RAR";
  expect_alike({config, DType::kBFloat16, 1, 4096});
}

TEST(PlanPass, ContextRanks) {
  for (const DType compute : {DType::kFloat32, DType::kBFloat16}) {
    expect_alike({.config = config_of("RARG"),
                  .compute = compute,
                  .sequences = 2,
                  .length = 37,
                  .context = 4});
    expect_alike(
        {.config = config_of("AR", 261, 40), .compute = compute, .length = 65, .context = 3});
  }
}

TEST(PlanPass, TensorRanks) {
  for (const DType compute : {DType::kFloat32, DType::kBFloat16}) {
    for (const bool sequence : {false, true}) {
      expect_alike({config_of("RARG"), compute, 2, 37, 1, 4, sequence});
      expect_alike({config_of("RA", 20000), compute, 1, 301, 1, 2, sequence});
      expect_alike({config_of("GRA"), compute, 1, 39, 2, 2, sequence});
      expect_alike({config_of("RA"), compute, 1, 39, 1, 2, sequence, false});
    }
  }
}

// Four context ranks need at most 30 % of what one needs for a sequence of 65,536 tokens.
TEST(PlanPass, ContextRanksShareOutTheMemoryOfALongSequence) {
  GriffinConfig config = config_of("RRA", 258, 128);
  config.width = config.rnn_width = 64;
  config.mlp_width = 192;
  Case c{.config = config, .length = 65536};
  const Measured one = measure(c, false, 1)[0];
  c.context = 4;
  for (const Measured& rank : measure(c, false, 1)) {
    EXPECT_LE(static_cast<double>(rank.saved + rank.scratch),
              0.3 * static_cast<double>(one.saved + one.scratch));
    EXPECT_LE(static_cast<double>(rank.saved_held + rank.scratch_held),
              0.3 * static_cast<double>(one.saved_held + one.scratch_held));
  }
}

}  // namespace
}  // namespace eyrie::planning
