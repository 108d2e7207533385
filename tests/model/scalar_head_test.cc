// A head of another kind beside the language model's, as a reward model has it: a scalar per token
// from the hidden states. It is built here from what the model offers, and the layers know nothing
// of it. Gradients of all parameters against finite differences.
#include <gtest/gtest.h>

#include <cmath>

#include "model/griffin.h"
#include "model/training_parameters.h"
#include "support/odd_model.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/matmul.h"

namespace eyrie::model {
namespace {

using tensor::DType;
using tensor::Tensor;

struct Sink : GradientSink {
  explicit Sink(const std::vector<parallel::Unit>& units) {
    for (const auto& unit : units) buffers.emplace_back(static_cast<std::size_t>(unit.size), 0.0f);
  }
  Tensor gradient(std::size_t unit) override { return tensor::host_row(buffers[unit]); }
  void finished(std::size_t unit) override { order.push_back(unit); }
  std::vector<std::vector<float>> buffers;
  std::vector<std::size_t> order;
};

// ½ Σ (w · hidden − target)² over all tokens.
class ScalarModel {
 public:
  ScalarModel() : griffin_(test::odd_config("RAG", 5, 3)), parameters_(units(), DType::kFloat32) {
    parameters_.initialise(5);
    for (int t = 0; t < 14; ++t) {
      tokens_.push_back((3 * t + t / 4) % 11);
      positions_.push_back(t % 7);
      wanted_.push_back(static_cast<float>(std::sin(t)));
    }
  }

  // The units of the model, and one for the head.
  std::vector<parallel::Unit> units() const {
    std::vector<parallel::Unit> all = griffin_.units();
    all.push_back({.name = "scalar_head"});
    all.back().add({.name = "scalar_head/w",
                    .shape = {1, griffin_.config().width},
                    .initial_value = [](const base::Philox& random, std::uint64_t index, double) {
                      return static_cast<float>(random.normal(index));
                    }});
    return all;
  }
  TrainingParameters& parameters() { return parameters_; }

  double loss(Sink* sink = nullptr) {
    ForwardPass forward = griffin_.forward(
        parameters_, {2, 7, tensor::host_row(tokens_), tensor::host_row(positions_)}, workspace_,
        sink != nullptr);
    const std::size_t head = griffin_.units().size();
    const Tensor w = parameters_.weight(head, 0);
    std::vector<float> values(14);
    const Tensor column = tensor::host_row(values).reshaped(14, 1);
    tensor::matmul(forward.hidden, w, column, {.transpose_b = true});
    double loss = 0;
    for (std::size_t t = 0; t < values.size(); ++t) {
      values[t] -= wanted_[t];
      loss += 0.5 * static_cast<double>(values[t]) * static_cast<double>(values[t]);
    }
    if (sink == nullptr) return loss;
    const parallel::ParameterInfo& info = parameters_.units()[head].parameters[0];
    tensor::matmul(column, forward.hidden, parameter_in(info, sink->gradient(head)),
                   {.transpose_a = true});
    sink->finished(head);
    const Tensor dhidden = griffin_.hidden_gradient(forward);
    tensor::matmul(column, w, dhidden);
    tensor::zero(sink->gradient(0));  // no language-model head adds to the table's gradient
    griffin_.backward(forward, dhidden, *sink);
    return loss;
  }

 private:
  Griffin griffin_;
  TrainingParameters parameters_;
  Workspace workspace_;
  std::vector<std::int32_t> tokens_, positions_;
  std::vector<float> wanted_;
};

TEST(ScalarHead, FitsBesideTheLanguageModels) {
  ScalarModel model;
  const std::vector<parallel::Unit> units = model.units();
  Sink sink(units);
  const double loss = model.loss(&sink);
  EXPECT_EQ(loss, model.loss());
  EXPECT_EQ(sink.order, (std::vector<std::size_t>{5, 4, 3, 2, 1, 0}));
  int compared = 0;
  for (std::size_t u = 0; u < units.size(); ++u) {
    for (const parallel::ParameterInfo& info : units[u].parameters) {
      float* const weights = model.parameters().masters(u).f32() + info.offset;
      const float* const gradient = sink.buffers[u].data() + info.offset;
      float largest = 0;
      for (std::int64_t i = 0; i < info.count(); ++i)
        largest = std::max(largest, std::abs(gradient[i]));
      for (std::int64_t i = 0; i < info.count(); i += std::max<std::int64_t>(1, info.count() / 3)) {
        const float before = weights[i];
        constexpr float kStep = 1e-2f;
        weights[i] = before + kStep;
        const double above = model.loss();
        weights[i] = before - kStep;
        const double below = model.loss();
        weights[i] = before;
        EXPECT_NEAR((above - below) / (2 * static_cast<double>(kStep)), gradient[i],
                    0.02 * static_cast<double>(largest) + 2e-3)
            << info.name << " " << i;
        ++compared;
      }
    }
  }
  EXPECT_GT(compared, 100);
}

}  // namespace
}  // namespace eyrie::model
