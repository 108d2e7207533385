// Plans of meshes against steps that are run on them, in threads of one process: the bytes that
// every rank sends on every axis are the predicted ones exactly, and so is the memory that the
// parts of a rank say they hold.
#include "planning/mesh_plan.h"

#include <gtest/gtest.h>

#include "checkpoint/tensor_piece.h"
#include "model/token_loss.h"
#include "support/mesh_run.h"
#include "trainer/optimizer.h"

namespace eyrie::planning {
namespace {

using parallel::AxisBytes;
using parallel::MeshShape;
using tensor::DType;

struct Measured {
  AxisBytes sent;  // in the second step
  RankMemory memory;
};

// Two steps of random tokens; by rank.
std::vector<Measured> run(const model::GriffinConfig& config, const StepShape& shape) {
  std::vector<Measured> all(static_cast<std::size_t>(shape.mesh.ranks()));
  parallel::run_in_process(shape.mesh.ranks(), [&](parallel::Communicator& world) {
    const parallel::Mesh mesh(world, shape.mesh);
    const model::Griffin griffin(config, model::ParallelContext::of(mesh));
    model::TrainingParameters parameters =
        trainer::make_parameters(griffin.units(), shape.compute, mesh);
    trainer::Optimizer optimizer({}, parameters, mesh);
    parameters.initialise(7);
    optimizer.all_gather_parameters();
    model::Workspace workspace;
    const auto n = static_cast<std::size_t>(shape.sequences * shape.length);
    std::vector<std::int32_t> tokens(n), positions(n);
    for (std::size_t t = 0; t < n; ++t) {
      tokens[t] = static_cast<std::int32_t>((7 * t + t / 5) % 256);
      positions[t] = static_cast<std::int32_t>(t % static_cast<std::size_t>(shape.length));
    }
    const std::vector<float> weight(n, 1.0f);
    Measured& one = all[static_cast<std::size_t>(world.rank())];
    for (int step = 0; step < 2; ++step) {
      const AxisBytes before = optimizer.bytes_sent();
      const parallel::StepPlan plan(shape.micro_shards, shape.mesh);
      optimizer.begin(plan);
      for (std::int64_t number = 0; number < plan.count(); ++number) {
        model::token_loss(
            griffin, parameters,
            {{shape.sequences, shape.length, tensor::host_row(tokens), tensor::host_row(positions)},
             tensor::host_row(tokens),
             tensor::host_row(weight)},
            workspace, 1.0f / static_cast<float>(n), optimizer);
      }
      optimizer.step(1e-3, optimizer.grad_norm());
      one.sent = optimizer.bytes_sent() - before;
    }
    const trainer::Optimizer::Bytes own = optimizer.bytes();
    const parallel::ShardedWeights::Bytes weights = parameters.bytes();
    one.memory.masters = weights.masters;
    one.memory.copies = weights.copies;
    one.memory.vectors = weights.vectors;
    one.memory.gathered = own.gathered;
    one.memory.gradients = own.gradients;
    one.memory.moments = own.moments;
    one.memory.exchange = own.exchange;
    one.memory.activations = static_cast<std::int64_t>(workspace.saved.touched_bytes());
    one.memory.scratch = static_cast<std::int64_t>(workspace.scratch.touched_bytes());
    for (const checkpoint::TensorPiece& piece : optimizer.checkpoint_pieces())
      one.memory.snapshot += piece.flat_count * 4;
  });
  return all;
}

void expect_alike(const model::GriffinConfig& config, const StepShape& shape) {
  SCOPED_TRACE(testing::Message() << parallel::describe(shape.mesh) << ", "
                                  << name_of(shape.compute) << ", " << shape.micro_shards
                                  << " micro-shards");
  const MeshPlan plan(config, shape);
  const std::vector<Measured> measured = run(config, shape);
  std::int64_t all = 0;
  for (int rank = 0; rank < shape.mesh.ranks(); ++rank) {
    SCOPED_TRACE(testing::Message() << "rank " << rank);
    const auto& [sent, held] = measured[static_cast<std::size_t>(rank)];
    const AxisBytes expected = plan.sent(rank);
    EXPECT_EQ(expected.shard, sent.shard);
    EXPECT_EQ(expected.replicate, sent.replicate);
    EXPECT_EQ(expected.context, sent.context);
    EXPECT_EQ(expected.tensor, sent.tensor);
    all += sent.all();
    const RankMemory memory = plan.memory(rank);
    EXPECT_EQ(memory.masters, held.masters);
    EXPECT_EQ(memory.copies, held.copies);
    EXPECT_EQ(memory.vectors, held.vectors);
    EXPECT_EQ(memory.gathered, held.gathered);
    EXPECT_EQ(memory.gradients, held.gradients);
    EXPECT_EQ(memory.moments, held.moments);
    EXPECT_EQ(memory.activations, held.activations);
    EXPECT_EQ(memory.scratch, held.scratch);
    EXPECT_EQ(memory.exchange, held.exchange);
    EXPECT_EQ(memory.snapshot, held.snapshot);
  }
  EXPECT_EQ(plan.sent_by_all(), all);
}

void expect_alike(char model, std::vector<MeshShape> meshes, std::int64_t micro_shards = 8) {
  for (MeshShape& mesh : meshes) {
    for (const DType compute : {DType::kFloat32, DType::kBFloat16}) {
      for (mesh.zero = 0; mesh.zero <= 3; ++mesh.zero) {
        expect_alike(test::tiny_model(model), {.compute = compute,
                                               .mesh = mesh,
                                               .sequences = 1,
                                               .length = 37,
                                               .micro_shards = micro_shards});
      }
    }
  }
}

TEST(MeshPlan, DataAndContext) {
  expect_alike('A', {{}, {.data = 2}, {.data = 8}, {.context = 4}, {.data = 2, .context = 3}});
}

TEST(MeshPlan, Tensor) {
  expect_alike('B', {{.tensor = 4},
                     {.data = 2, .tensor = 2},
                     {.data = 2, .tensor = 4, .sequence = true},
                     {.context = 2, .tensor = 2},
                     {.data = 2, .context = 2, .tensor = 2, .sequence = true}});
}

TEST(MeshPlan, ReplicasAndGradientsInBfloat16) {
  expect_alike('A', {{.data = 4, .replicas = 2},
                     {.data = 4, .replicas = 4, .bf16_gradients = true},
                     {.data = 4, .context = 2, .replicas = 2, .bf16_gradients = true}});
}

TEST(MeshPlan, GroupsOfMicroShards) {
  expect_alike('A', {{.data = 3}, {.data = 6}}, 12);
  expect_alike('A', {{}}, 6);
}

// Units of several blocks and pieces, more than two layers.
TEST(MeshPlan, ALargerModel) {
  model::GriffinConfig config = model::preset("griffin-10m");
  config.vocabulary = 1000;
  for (const int zero : {1, 3}) {
    expect_alike(config, {.compute = DType::kBFloat16,
                          .mesh = {.data = 2, .tensor = 2, .sequence = true, .zero = zero},
                          .sequences = 1,
                          .length = 64,
                          .micro_shards = 4});
  }
}

}  // namespace
}  // namespace eyrie::planning
