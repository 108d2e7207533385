// Loss and gradients of whole models against finite differences of a forward pass in double: every
// kind of layer, packed documents, masked losses, the output layer's pieces.
#include <gtest/gtest.h>

#include <cmath>

#include "model/griffin.h"
#include "model/training_parameters.h"
#include "support/loss.h"
#include "support/odd_model.h"

namespace eyrie::model {
namespace {

using tensor::DType;
using test::all_rows;
using test::DoubleGriffin;
using test::expect_gradient;
using test::fill;
using test::largest_of;
using test::odd_config;
using test::part;
using test::positions_of;
using test::Rows;
using test::text_of;
using test::unwritten;
using test::Values;
using test::Weights;

struct Sink : GradientSink {
  explicit Sink(const std::vector<parallel::Unit>& units) {
    for (const auto& unit : units) buffers.push_back(unwritten(unit.size));
  }
  tensor::Tensor gradient(std::size_t unit) override { return tensor::host_row(buffers[unit]); }
  void finished(std::size_t unit) override { order.push_back(unit); }
  std::vector<std::vector<float>> buffers;
  std::vector<std::size_t> order;
};

// Which places count in the loss.
enum class Mask { kAll, kSome, kTail, kNone };

struct ModelCase {
  std::string layers;
  Rows rows;
  Mask mask = Mask::kAll;
  std::int64_t heads = 1, window = 3;
  float gradient_scale = 1;
  double soft_cap = 0;
  bool scale_embedding = false;
  std::size_t samples = 6;
};

// A whole model on one batch, run with gradients.
struct ModelRun {
  explicit ModelRun(const ModelCase& c)
      : config(config_of(c)),
        griffin(config),
        parameters(griffin.units(), DType::kFloat32),
        weights(fill(parameters)),
        sink(griffin.units()) {
    const auto n = static_cast<std::size_t>(c.rows.tokens());
    const base::Philox random(3, "batch");
    for (std::size_t t = 0; t < n; ++t) {
      const auto id = [&](std::size_t index) {
        return static_cast<std::int32_t>(random.uniform(index) * 11);
      };
      tokens.push_back(id(2 * t));
      targets.push_back(id(2 * t + 1));
      const bool counts = c.mask == Mask::kAll || (c.mask == Mask::kSome && t % 3 != 1) ||
                          (c.mask == Mask::kTail && 2 * t < n);
      mask.push_back(counts ? 1.0f : 0.0f);
    }
    const TargetBatch batch{{c.rows.sequences, c.rows.length, tensor::host_row(tokens),
                             tensor::host_row(c.rows.positions)},
                            tensor::host_row(targets),
                            tensor::host_row(mask)};
    nll = token_nll(griffin, parameters, batch, workspace);
    without_gradients = test::loss_of(griffin, parameters, batch, workspace);
    loss = token_loss(griffin, parameters, batch, workspace, c.gradient_scale, sink);
  }

  static GriffinConfig config_of(const ModelCase& c) {
    GriffinConfig config = odd_config(c.layers, c.heads, c.window);
    config.soft_cap = c.soft_cap;
    config.scale_embedding = c.scale_embedding;
    return config;
  }

  GriffinConfig config;
  Griffin griffin;
  TrainingParameters parameters;
  Weights weights;
  Sink sink;
  Workspace workspace;
  std::vector<std::int32_t> tokens, targets;
  std::vector<float> mask, nll;
  double loss = 0, without_gradients = 0;
};

void check_model(const ModelCase& c) {
  SCOPED_TRACE(c.layers + ", " + text_of(c.rows));
  ModelRun run(c);
  const DoubleGriffin model(run.config, run.weights, c.rows);
  const Values exact = model.nll(run.tokens, run.targets);
  for (std::size_t t = 0; t < exact.size(); ++t) {
    EXPECT_NEAR(run.nll[t], run.mask[t] == 0 ? 0 : exact[t], 1e-5) << t;
  }
  const Values mask(run.mask.begin(), run.mask.end());
  const auto loss = [&] {
    return c.gradient_scale * test::weighted_sum(mask, model.nll(run.tokens, run.targets));
  };
  EXPECT_EQ(run.loss, run.without_gradients);
  EXPECT_NEAR(c.gradient_scale * run.loss, loss(), 1e-5 * std::max(1.0, std::abs(loss())));
  double most = 0;
  const auto& units = run.griffin.units();
  for (std::size_t u = 0; u < units.size(); ++u) {
    for (const auto& row : units[u].parameters)
      most = std::max(most, largest_of(part(run.sink.buffers[u], row)));
  }
  for (std::size_t u = 0; u < units.size(); ++u) {
    for (const auto& row : units[u].parameters)
      expect_gradient(run.weights.at(row.name), part(run.sink.buffers[u], row), most, loss,
                      row.name, c.samples);
  }
}

TEST(ModelGradients, Griffin) {
  for (const Rows& rows : all_rows()) {
    check_model({.layers = "RAR", .rows = rows});
    check_model({.layers = "AR", .rows = rows, .mask = Mask::kSome, .heads = 5, .window = 1});
  }
}

TEST(ModelGradients, HawkAndLocalAttentionAlone) {
  const Rows rows{2, 8, positions_of({3, 1, 4, 1, 7})};
  check_model({.layers = "RR", .rows = rows});
  check_model({.layers = "AA", .rows = rows, .window = 2});
  check_model({.layers = "AA", .rows = rows, .heads = 5, .window = 1000});
}

TEST(ModelGradients, GlobalAttentionWhereLocalSeesEverythingToo) {
  for (const Rows& rows : all_rows()) check_model({.layers = "GRG", .rows = rows, .window = 1000});
}

// The window does not bind global attention; both kinds in one pass.
TEST(ModelGradients, GlobalAttention) {
  for (const Rows& rows : all_rows()) {
    check_model({.layers = "RAG", .rows = rows, .window = 2});
    check_model({.layers = "GG", .rows = rows, .heads = 5, .window = 1});
  }
}

TEST(ModelGradients, SoftCapAndEmbeddingScale) {
  const Rows rows{2, 8, positions_of({3, 1, 4, 1, 7})};
  check_model({.layers = "RA", .rows = rows, .soft_cap = 3});
  check_model({.layers = "RA", .rows = rows, .soft_cap = 30, .scale_embedding = true});
  check_model({.layers = "RA", .rows = rows, .scale_embedding = true});
}

TEST(ModelGradients, MasksAndGradientScale) {
  const Rows rows{2, 8, positions_of({3, 1, 4, 1, 7})};
  for (const Mask mask : {Mask::kAll, Mask::kSome, Mask::kTail}) {
    for (const float scale : {0.37f, 100.0f}) {
      check_model({.layers = "RA", .rows = rows, .mask = mask, .gradient_scale = scale});
    }
  }
}

// More tokens than the output layer takes at once (512), so its pieces are added up.
TEST(ModelGradients, LogitsInSeveralPieces) {
  const Rows rows{1, 700, positions_of({300, 1, 399})};
  check_model({.layers = "R", .rows = rows, .mask = Mask::kSome, .samples = 2});
}

TEST(ModelGradients, AllMaskedIsExactlyZero) {
  for (const Rows& rows : all_rows()) {
    for (const double soft_cap : {0.0, 30.0}) {
      SCOPED_TRACE(text_of(rows));
      ModelRun run({.layers = "RA", .rows = rows, .mask = Mask::kNone, .soft_cap = soft_cap});
      EXPECT_EQ(run.loss, 0);
      EXPECT_EQ(run.without_gradients, 0);
      for (const float v : run.nll) EXPECT_EQ(v, 0);
      const auto& units = run.griffin.units();
      EXPECT_EQ(run.sink.order.size(), units.size());
      for (std::size_t u = 0; u < units.size(); ++u) {
        for (const auto& row : units[u].parameters) {
          for (const float v : part(run.sink.buffers[u], row)) ASSERT_EQ(v, 0) << row.name;
        }
      }
    }
  }
}

}  // namespace
}  // namespace eyrie::model
