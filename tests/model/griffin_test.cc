// Whole models against the official code's numbers: logits, loss, every gradient, AdamW steps,
// packed documents, bf16, decoding past the window.
#include "model/griffin.h"
#include "model/training_parameters.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "support/loss.h"
#include "support/model_fixture.h"
#include "tensor/ops/adamw.h"

namespace eyrie::model {
namespace {

using tensor::DType;
using tensor::Tensor;
using test::config_of;
using test::Fixture;
using test::fixtures;
using test::load;

struct Batch {
  explicit Batch(const Fixture& file)
      : tokens(file.ints("tokens")),
        targets(file.ints("targets")),
        positions(file.ints("segment_pos")),
        weight(file.floats("loss_mask")),
        sequences(file.shape("tokens")[0]),
        length(file.shape("tokens")[1]) {}
  std::vector<std::int32_t> tokens, targets, positions;
  std::vector<float> weight;
  std::int64_t sequences, length;
  TargetBatch view() const {
    return {{sequences, length, tensor::host_row(tokens), tensor::host_row(positions)},
            tensor::host_row(targets),
            tensor::host_row(weight)};
  }
  double count() const { return std::count(weight.begin(), weight.end(), 1.0f); }
};

struct Gradients : GradientSink {
  explicit Gradients(const std::vector<parallel::Unit>& units) {
    for (const auto& unit : units) buffers.emplace_back(static_cast<std::size_t>(unit.size), 0.0f);
  }
  tensor::Tensor gradient(std::size_t unit) override { return tensor::host_row(buffers[unit]); }
  void finished(std::size_t unit) override { order.push_back(unit); }
  std::vector<std::vector<float>> buffers;
  std::vector<std::size_t> order;
};

float largest(const std::vector<float>& x) {
  float most = 0;
  for (const float v : x) most = std::max(most, std::abs(v));
  return most;
}

class Fixtures : public testing::TestWithParam<const char*> {};

TEST_P(Fixtures, ForwardLossGradientsAndAdamW) {
  const Fixture file(fixtures() / GetParam());
  const Fixture weights(fixtures() / (file.has("params") ? GetParam() : "griffin_tiny.h5"));
  const Griffin griffin(config_of(file));
  TrainingParameters parameters(griffin.units(), DType::kFloat32);
  load(weights, "params", parameters);
  const Batch batch(file);
  Workspace workspace;

  const std::vector<float> nll = token_nll(griffin, parameters, batch.view(), workspace);
  const double loss = test::loss_of(griffin, parameters, batch.view(), workspace) / batch.count();
  EXPECT_NEAR(loss, file.floats("loss")[0], 1e-5);
  const auto expected_nll = file.floats("token_nll");
  for (std::size_t t = 0; t < nll.size(); ++t) {
    if (batch.weight[t] == 0) continue;
    EXPECT_NEAR(nll[t], expected_nll[t], 5e-5) << t;
  }

  const double learning_rate = file.has("adamw") ? file.number("adamw_lr") : 0;
  std::vector<std::vector<float>> moment1, moment2;
  for (const auto& unit : griffin.units()) {
    moment1.emplace_back(static_cast<std::size_t>(unit.size), 0.0f);
    moment2.emplace_back(static_cast<std::size_t>(unit.size), 0.0f);
  }
  for (int step = 1; step <= 4; ++step) {
    Gradients gradients(griffin.units());
    const double now = token_loss(griffin, parameters, batch.view(), workspace,
                                  static_cast<float>(1.0 / batch.count()), gradients) /
                       batch.count();
    if (step == 1) {
      EXPECT_EQ(now, loss);  // the same forward, bit for bit
      for (std::size_t u = 0; u < griffin.units().size(); ++u) {
        for (const auto& row : griffin.units()[u].parameters) {
          const auto expected = file.floats("grads/" + row.name);
          const float tolerance = 2e-5f * largest(expected);
          float worst = 0;
          for (std::size_t i = 0; i < expected.size(); ++i) {
            worst = std::max(
                worst, std::abs(expected[i] -
                                gradients.buffers[u][static_cast<std::size_t>(row.offset) + i]));
          }
          EXPECT_LE(worst, tolerance) << row.name;
        }
      }
      EXPECT_EQ(gradients.order.front(), griffin.units().size() - 1);
      EXPECT_EQ(gradients.order.back(), 0u);
      if (!file.has("adamw")) return;
    }
    EXPECT_NEAR(now, file.floats("adamw/losses")[static_cast<std::size_t>(step - 1)], 2e-5);
    if (step == 4) break;
    for (std::size_t u = 0; u < griffin.units().size(); ++u) {
      for (const auto& row : griffin.units()[u].parameters) {
        const auto part = [&](const tensor::Tensor& unit) {
          return unit.column_range(row.offset, row.count());
        };
        tensor::adamw(part(parameters.masters(u)), part(tensor::host_row(gradients.buffers[u])),
                      part(tensor::host_row(moment1[u])), part(tensor::host_row(moment2[u])),
                      {static_cast<float>(learning_rate), 0.9f, 0.95f, 1e-8f, 0.1f, 1.0f, step});
      }
    }
    parameters.refresh_all();
  }
  double squares = 0,
         count = 0;  // over all parameters: single elements with a gradient near 0 go either way
  for (std::size_t u = 0; u < griffin.units().size(); ++u) {
    for (const auto& row : griffin.units()[u].parameters) {
      const auto expected = file.floats("adamw/params/" + row.name);
      double worst = 0;
      count += static_cast<double>(expected.size());
      for (std::size_t i = 0; i < expected.size(); ++i) {
        const double difference = std::abs(
            expected[i] - parameters.masters(u).f32()[static_cast<std::size_t>(row.offset) + i]);
        squares += difference * difference;
        worst = std::max(worst, difference);
      }
      EXPECT_LE(worst, 1e-3) << row.name;
    }
  }
  EXPECT_LE(std::sqrt(squares / count), 2e-6);
}

INSTANTIATE_TEST_SUITE_P(Official, Fixtures,
                         testing::Values("griffin_tiny.h5", "hawk_tiny.h5", "mqa_tiny.h5",
                                         "packed.h5"));

TEST(Griffin, ReadGivesTheOfficialLogitsInAnyPieces) {
  const Fixture file(fixtures() / "griffin_tiny.h5");
  const Griffin griffin(config_of(file));
  TrainingParameters parameters(griffin.units(), DType::kFloat32);
  load(file, "params", parameters);
  const Batch batch(file);
  const auto expected = file.floats("logits");
  const std::int64_t vocabulary = griffin.config().vocabulary;
  for (const std::int64_t piece : {batch.length, std::int64_t{7}, std::int64_t{1}}) {
    Workspace workspace;
    State state(griffin.config(), DType::kFloat32, batch.sequences);
    for (std::int64_t begin = 0; begin < batch.length; begin += piece) {
      const std::int64_t count = std::min(piece, batch.length - begin);
      std::vector<std::int32_t> tokens;
      for (std::int64_t s = 0; s < batch.sequences; ++s) {
        const auto from = batch.tokens.begin() + s * batch.length + begin;
        tokens.insert(tokens.end(), from, from + count);
      }
      const Tensor hidden = griffin.prefill(parameters, tokens, count, state, workspace);
      std::vector<float> logits(static_cast<std::size_t>(batch.sequences * count * vocabulary));
      griffin.lm_head().logits(
          parameters, hidden,
          {logits.data(), DType::kFloat32, batch.sequences * count, vocabulary});
      float worst = 0;
      for (std::int64_t s = 0; s < batch.sequences; ++s) {
        for (std::int64_t i = 0; i < count * vocabulary; ++i) {
          worst = std::max(
              worst,
              std::abs(
                  logits[static_cast<std::size_t>(s * count * vocabulary + i)] -
                  expected[static_cast<std::size_t>((s * batch.length + begin) * vocabulary + i)]));
        }
      }
      EXPECT_LE(worst, 5e-5f) << "pieces of " << piece << " at " << begin;
    }
    for (std::int64_t s = 0; s < batch.sequences; ++s) {
      EXPECT_EQ(state.position(s), batch.length);
      EXPECT_EQ(state.tokens(s), batch.length);
    }
  }
}

TEST(Griffin, Bf16StaysWithinTheOfficialSpread) {
  const Fixture file(fixtures() / "griffin_tiny.h5"), bf16(fixtures() / "bf16.h5");
  const Griffin griffin(config_of(file));
  TrainingParameters parameters(griffin.units(), DType::kBFloat16);
  load(file, "params", parameters);
  const Batch batch(file);
  Workspace workspace;
  const double loss = test::loss_of(griffin, parameters, batch.view(), workspace) / batch.count();
  for (const char* name : {"loss", "loss_torch", "loss_fp32_compute"})
    EXPECT_NEAR(loss, bf16.floats(name)[0], 0.03) << name;

  State state(griffin.config(), DType::kBFloat16, batch.sequences);
  const Tensor hidden = griffin.prefill(parameters, batch.tokens, batch.length, state, workspace);
  const auto expected = bf16.floats("logits_fp32_compute");
  std::vector<float> logits(expected.size());
  griffin.lm_head().logits(
      parameters, hidden,
      {logits.data(), DType::kFloat32, hidden.rows(), griffin.config().vocabulary});
  double squares = 0, worst = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double difference = std::abs(logits[i] - expected[i]);
    squares += difference * difference;
    worst = std::max(worst, difference);
  }
  EXPECT_LE(worst, 0.5);
  EXPECT_LE(std::sqrt(squares / static_cast<double>(expected.size())), 0.1);
}

TEST(Griffin, AChangeInOneDocumentDoesNotReachAnother) {
  const Fixture file(fixtures() / "packed.h5"), weights(fixtures() / "griffin_tiny.h5");
  const Griffin griffin(config_of(file));
  TrainingParameters parameters(griffin.units(), DType::kFloat32);
  load(weights, "params", parameters);
  Batch batch(file);
  Workspace workspace;
  const std::vector<float> before = token_nll(griffin, parameters, batch.view(), workspace);
  batch.tokens[0] = (batch.tokens[0] + 1) % static_cast<std::int32_t>(griffin.config().vocabulary);
  const std::vector<float> after = token_nll(griffin, parameters, batch.view(), workspace);
  const auto second = static_cast<std::size_t>(
      std::find(batch.positions.begin() + 1, batch.positions.end(), 0) - batch.positions.begin());
  // Somewhere in the first document (not every place of a fixture has a target).
  EXPECT_FALSE(std::equal(before.begin(), before.begin() + static_cast<std::ptrdiff_t>(second),
                          after.begin()));
  for (std::size_t t = second; t < before.size(); ++t) EXPECT_EQ(before[t], after[t]) << t;
}

// The second line: whoever reads tokens has refused these already.
TEST(Griffin, TokensOutsideOfTheVocabularyAreNotLookedUp) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");  // the threads of a product survive no fork
  GriffinConfig config = preset("griffin-10m");
  config.vocabulary = 30;
  config.width = config.rnn_width = config.mlp_width = 16;
  config.heads = config.gate_blocks = 2;
  config.layers = "RA";
  const Griffin griffin(config);
  TrainingParameters parameters(griffin.units(), DType::kFloat32);
  parameters.initialise(1);
  Workspace workspace;
  std::vector<std::int32_t> tokens = {1, 2, 3, 4}, targets = {2, 3, 4, 0}, positions = {0, 1, 2, 3};
  std::vector<float> weight = {1, 1, 1, 0};
  const auto loss = [&] {
    return test::loss_of(griffin, parameters,
                         {{1, 4, tensor::host_row(tokens), tensor::host_row(positions)},
                          tensor::host_row(targets),
                          tensor::host_row(weight)},
                         workspace);
  };
  targets[3] = 99;  // not looked at
  EXPECT_GT(loss(), 0);
  targets[1] = 30;
  EXPECT_DEATH(loss(), "a target outside of the model's vocabulary");
  targets[1] = 3;
  tokens[2] = -1;
  EXPECT_DEATH(loss(), "a token outside of the model's vocabulary");
  State state(config, DType::kFloat32, 1);
  EXPECT_DEATH(griffin.prefill(parameters, tokens, 4, state, workspace), "a token outside");
}

}  // namespace
}  // namespace eyrie::model
