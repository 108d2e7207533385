// A model shared out over tensor and context ranks gives the loss and the gradients that one rank
// gives: every kind of layer, documents across borders, sizes that do not divide, pieces shorter
// than the window.
#include <gtest/gtest.h>

#include <fmt/format.h>

#include <cmath>
#include <map>
#include <mutex>

#include "model/griffin.h"
#include "model/training_parameters.h"
#include "support/loss.h"
#include "support/odd_model.h"

namespace eyrie::model {
namespace {

using tensor::DType;
using test::fill;
using test::positions_of;
using test::Rows;

// By tensor, the whole of it.
using Gradients = std::map<std::string, std::vector<double>>;

struct Sink : GradientSink {
  explicit Sink(const std::vector<parallel::Unit>& units) {
    for (const auto& unit : units)
      buffers.emplace_back(static_cast<std::size_t>(unit.size), std::nanf(""));
  }
  tensor::Tensor gradient(std::size_t unit) override { return tensor::host_row(buffers[unit]); }
  void finished(std::size_t) override {}
  std::vector<std::vector<float>> buffers;
};

struct Problem {
  std::string layers = "RARG";
  std::int64_t window = 5;
  Rows rows;
  double soft_cap = 0;
  DType compute = DType::kFloat32;
  Recompute recompute = Recompute::kNone;
};

GriffinConfig config_of(const Problem& problem) {
  GriffinConfig config;
  config.preset = "mesh";
  config.vocabulary = 37;
  config.width = 32;
  config.rnn_width = 56;  // 8 blocks of 7
  config.mlp_width = 24;
  config.heads = config.gate_blocks = 8;
  config.layers = problem.layers;
  config.window = problem.window;
  config.soft_cap = problem.soft_cap;
  config.scale_embedding = problem.soft_cap > 0;
  check(config);
  return config;
}

struct Result {
  double loss = 0;
  Gradients gradients;
  std::size_t saved_bytes = 0;  // of the rank that kept most
};

// Adds this rank's terms of the gradient of the whole tensors.
void add_gradients(const Griffin& griffin, const Sink& sink, Gradients& all) {
  const bool first = griffin.parallel_context().tensor_rank() == 0;
  for (std::size_t u = 0; u < griffin.units().size(); ++u) {
    for (const auto& row : griffin.units()[u].parameters) {
      std::vector<double>& whole = all[row.name];
      whole.resize(static_cast<std::size_t>(row.whole_count()));
      // What all tensor ranks have in full and alike counts once.
      if (row.replicated() && row.tensor_gradient == parallel::TensorGradient::kOwn && !first)
        continue;
      for (std::int64_t i = 0; i < row.count(); ++i)
        whole[static_cast<std::size_t>(parallel::global_index(row, i))] +=
            static_cast<double>(sink.buffers[u][static_cast<std::size_t>(row.offset + i)]);
    }
  }
}

// The same weights, sliced for any mesh.
void fill_slices(TrainingParameters& parameters, const TrainingParameters& whole) {
  for (std::size_t u = 0; u < parameters.units().size(); ++u) {
    for (std::size_t r = 0; r < parameters.units()[u].parameters.size(); ++r) {
      const auto& row = parameters.units()[u].parameters[r];
      const float* from = whole.masters(u).f32() + whole.units()[u].parameters[r].offset;
      for (std::int64_t i = 0; i < row.count(); ++i)
        parameters.masters(u).f32()[row.offset + i] = from[parallel::global_index(row, i)];
    }
  }
  parameters.refresh_all();
}

Result run(const Problem& problem, int context, int tensor, bool sequence) {
  const GriffinConfig config = config_of(problem);
  const std::int64_t n = problem.rows.tokens();
  const base::Philox random(23, "mesh batch");
  std::vector<std::int32_t> tokens, targets;
  std::vector<float> weight;
  for (std::int64_t t = 0; t < n; ++t) {
    const auto token = [&](std::int64_t i) {
      return static_cast<std::int32_t>(37 * random.uniform(static_cast<std::uint64_t>(i)));
    };
    tokens.push_back(token(t + 1000));
    targets.push_back(token(t + 2000));
    weight.push_back(random.uniform(static_cast<std::uint64_t>(t)) < 0.2 ? 0.0f : 1.0f);
  }
  const Griffin whole_griffin(config);
  TrainingParameters whole(whole_griffin.units(), problem.compute);
  fill(whole);
  Result result;
  std::mutex mutex;
  std::vector<std::map<int, Sink>> by_rank(1);
  parallel::run_in_process(context * tensor, [&](parallel::Communicator& world) {
    const parallel::Mesh mesh(world, {.context = context, .tensor = tensor, .sequence = sequence});
    Griffin griffin(config, ParallelContext::of(mesh));
    griffin.set_recompute(problem.recompute);
    TrainingParameters parameters(griffin.units(), problem.compute);
    fill_slices(parameters, whole);
    Sink sink(griffin.units());
    Workspace workspace;
    const TargetBatch batch{{problem.rows.sequences, problem.rows.length, tensor::host_row(tokens),
                             tensor::host_row(problem.rows.positions)},
                            tensor::host_row(targets),
                            tensor::host_row(weight)};
    const double loss = token_loss(griffin, parameters, batch, workspace, 0.25f, sink);
    Workspace again;
    const double forward_only = test::loss_of(griffin, parameters, batch, again);
    EXPECT_EQ(loss, forward_only);
    const std::lock_guard lock(mutex);
    if (mesh.tensor_rank() == 0) result.loss += loss;
    result.saved_bytes = std::max(result.saved_bytes, workspace.saved.peak_bytes());
    by_rank[0].emplace(world.rank(), std::move(sink));
  });
  // What every tensor rank holds alike must be so bit for bit.
  parallel::run_in_process(context * tensor, [&](parallel::Communicator& world) {
    const parallel::Mesh mesh(world, {.context = context, .tensor = tensor, .sequence = sequence});
    const Griffin griffin(config, ParallelContext::of(mesh));
    const std::lock_guard lock(mutex);
    const Sink& own = by_rank[0].at(world.rank());
    const Sink& first = by_rank[0].at(world.rank() - mesh.tensor_rank());
    for (std::size_t u = 0; u < griffin.units().size(); ++u) {
      for (const auto& row : griffin.units()[u].parameters) {
        if (!row.replicated() || row.tensor_gradient != parallel::TensorGradient::kOwn) continue;
        for (std::int64_t i = row.offset; i < row.offset + row.count(); ++i) {
          const auto at = static_cast<std::size_t>(i);
          ASSERT_EQ(own.buffers[u][at], first.buffers[u][at]) << row.name;
        }
      }
    }
    add_gradients(griffin, own, result.gradients);
  });
  return result;
}

struct Tolerance {
  double loss = 1e-5, gradient = 2e-5;
};

void expect_same(const Problem& problem, int context, int tensor, bool sequence,
                 const Result& expected, Tolerance tolerance = {}) {
  SCOPED_TRACE(fmt::format("context {} tensor {}{} layers {} length {} window {}", context, tensor,
                           sequence ? " sequence" : "", problem.layers, problem.rows.length,
                           problem.window));
  const Result got = run(problem, context, tensor, sequence);
  EXPECT_NEAR(got.loss, expected.loss, tolerance.loss * std::abs(expected.loss) + 1e-12);
  double largest_of_all = 0;
  for (const auto& [name, values] : expected.gradients)
    for (const double v : values) largest_of_all = std::max(largest_of_all, std::abs(v));
  for (const auto& [name, values] : expected.gradients) {
    const auto& others = got.gradients.at(name);
    ASSERT_EQ(others.size(), values.size()) << name;
    double largest = 1e-2 * largest_of_all;
    for (const double v : values) largest = std::max(largest, std::abs(v));
    for (std::size_t i = 0; i < values.size(); ++i)
      ASSERT_NEAR(others[i], values[i], tolerance.gradient * largest) << name << "[" << i << "]";
  }
}

const std::vector<std::array<int, 3>> kShares = {{1, 2, 0}, {1, 2, 1}, {1, 4, 0}, {1, 4, 1},
                                                 {2, 1, 0}, {3, 1, 0}, {4, 1, 0}, {2, 2, 0},
                                                 {2, 2, 1}, {2, 4, 1}, {4, 2, 0}, {5, 1, 0}};

void check_all(const Problem& problem, Tolerance tolerance = {}) {
  const Result expected = run(problem, 1, 1, false);
  for (const auto& [context, tensor, sequence] : kShares)
    expect_same(problem, context, tensor, sequence != 0, expected, tolerance);
}

TEST(Mesh, WholeDocuments) {
  check_all({.rows = {1, 31, positions_of({31})}});
  check_all({.rows = {3, 23, positions_of({23, 23, 23})}, .soft_cap = 30});
}

TEST(Mesh, DocumentsAcrossBorders) {
  check_all({.rows = {2, 29, positions_of({1, 6, 1, 1, 11, 9, 2, 15, 3, 9})}});
  check_all({.layers = "RRA", .window = 2, .rows = {1, 40, positions_of({7, 13, 1, 19})}});
}

TEST(Mesh, WindowLongerThanPieces) {
  check_all({.layers = "AR", .window = 13, .rows = {1, 17, positions_of({17})}});
  check_all({.layers = "AAR", .window = 100, .rows = {2, 19, positions_of({19, 4, 15})}});
}

TEST(Mesh, Bfloat16) {
  check_all({.rows = {2, 29, positions_of({1, 6, 1, 1, 11, 9, 2, 15, 3, 9})},
             .compute = DType::kBFloat16},
            {.loss = 2e-3, .gradient = 4e-2});
}

// Fewer rows than tensor ranks: some have no rows of the residual stream, and with a vocabulary of
// 37 over 8 the last slice is shorter.
TEST(Mesh, MoreRanksThanTokens) {
  const Problem problem{.rows = {1, 5, positions_of({2, 3})}};
  const Result expected = run(problem, 1, 1, false);
  expect_same(problem, 1, 8, true, expected);
  expect_same(problem, 1, 8, false, expected);
}

// Activations that a rank keeps fall with the number of context ranks (beside the keys of the
// window, which do not).
TEST(Mesh, ContextMemory) {
  const Problem problem{.layers = "RAR", .rows = {1, 4000, positions_of({4000})}};
  const auto one = run(problem, 1, 1, false).saved_bytes;
  const auto four = run(problem, 4, 1, false).saved_bytes;
  EXPECT_LT(static_cast<double>(four), 0.27 * static_cast<double>(one));
}

// Run again before its backward pass, a block gives the same bits, and little is kept.
TEST(Mesh, Recomputation) {
  for (const DType compute : {DType::kFloat32, DType::kBFloat16}) {
    Problem problem{.layers = "RARGRR",
                    .rows = {2, 29, positions_of({1, 6, 1, 1, 11, 9, 2, 15, 3, 9})},
                    .compute = compute};
    for (const auto& [context, tensor, sequence] :
         {std::array{1, 1, 0}, {1, 2, 1}, {3, 1, 0}, {2, 4, 0}}) {
      problem.recompute = Recompute::kNone;
      const Result kept = run(problem, context, tensor, sequence != 0);
      std::size_t less = kept.saved_bytes;
      for (const Recompute recompute : {Recompute::kMlp, Recompute::kBlocks}) {
        problem.recompute = recompute;
        const Result again = run(problem, context, tensor, sequence != 0);
        EXPECT_EQ(again.loss, kept.loss);
        EXPECT_EQ(again.gradients, kept.gradients);
        EXPECT_LT(again.saved_bytes, less);
        less = again.saved_bytes;
      }
      EXPECT_LT(less, kept.saved_bytes / 2);
    }
  }
}

TEST(Mesh, RefusesWhatDoesNotDivide) {
  GriffinConfig five = config_of({.layers = "RA", .rows = {}});
  five.heads = 5;
  five.width = 40;
  try {
    check_tensor_ranks(five, 2);
    FAIL() << "2 tensor ranks on 5 heads";
  } catch (const base::InputError& error) {
    EXPECT_EQ(std::string(error.what()),
              "mesh.tensor 2 does not divide heads 5 of this model (mlp_width 24, heads 5, "
              "gate_blocks 8): tensor ranks own whole heads and gate blocks. What divides: 1");
  }
  EXPECT_THROW(check_tensor_ranks(preset("recurrentgemma-2b"), 4), base::InputError);
  check_tensor_ranks(preset("recurrentgemma-2b"), 2);
  check_tensor_ranks(preset("recurrentgemma-2b"), 5);
}

}  // namespace
}  // namespace eyrie::model
