// What the gradient tests of layers and of whole models share: a configuration of odd sizes, its
// weights in fp32 and in double, batches of awkward shapes, and the comparison of a gradient with
// finite differences.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "model/training_parameters.h"
#include "support/arrays.h"
#include "support/double_griffin.h"
#include "support/gradient_check.h"

namespace eyrie::test {

using Values = std::vector<double>;

// Of the largest gradient of the tensor. Where that itself is only what others leave over (the keys
// of a query that sees nothing but itself have none), of a hundredth of the largest of all.
constexpr double kGradientTolerance = 2e-5;

// Width 20, RNN 21 in 3 gate blocks, MLP 13, vocabulary 11: vectors never come out even.
inline model::GriffinConfig odd_config(const std::string& layers, std::int64_t heads,
                                       std::int64_t window) {
  model::GriffinConfig config;
  config.preset = "odd";
  config.vocabulary = 11;
  config.width = 20;
  config.rnn_width = 21;
  config.mlp_width = 13;
  config.heads = heads;
  config.gate_blocks = 3;
  config.layers = layers;
  config.window = window;
  model::check(config);
  return config;
}

// Numbers of a size that leaves no term out of sight, as fp32 holds them. Decays stay away from 1,
// where the product bounds the derivative of √(1 − a²).
inline Values fill(const parallel::ParameterInfo& row) {
  const base::Philox random(17, row.name);
  const bool product = row.product && row.shape.size() > 1;
  const double deviation =
      product ? 1 / std::sqrt(static_cast<double>(row.shape[row.shape.size() - 2])) : 0.4;
  const bool decay = row.name.ends_with("a_param");
  Values values;
  for (std::int64_t i = 0; i < row.count(); ++i) {
    const double normal = random.normal(static_cast<std::uint64_t>(i));
    const double value = row.name.starts_with("embedder") ? 0.7 * normal
                         : decay                          ? 0.7 * normal - 2.5
                                                          : deviation * normal;
    values.push_back(static_cast<float>(value));
  }
  return values;
}

inline Weights fill(model::TrainingParameters& parameters) {
  Weights weights;
  for (std::size_t u = 0; u < parameters.units().size(); ++u) {
    for (const auto& row : parameters.units()[u].parameters) {
      const Values values = weights[row.name] = fill(row);
      for (std::size_t i = 0; i < values.size(); ++i)
        parameters.masters(u).f32()[static_cast<std::size_t>(row.offset) + i] =
            static_cast<float>(values[i]);
    }
  }
  parameters.refresh_all();
  return weights;
}

// Which elements of a tensor are tried: all of a small one, some of a larger one.
inline std::vector<std::size_t> sampled(std::size_t count, std::size_t most) {
  std::vector<std::size_t> places;
  const base::Philox random(5, "which elements");
  for (std::size_t i = 0; i < std::min(count, most); ++i)
    places.push_back(static_cast<std::size_t>(random.permute(i, count)));
  return places;
}

// Compares `got`, the gradient of `values`, with finite differences of `loss`, which reads
// `values`.
inline void expect_gradient(Values& values, const std::vector<float>& got, double largest_of_all,
                            const std::function<double()>& loss, const std::string& name,
                            std::size_t most = 16) {
  ASSERT_EQ(values.size(), got.size()) << name;
  double scale = 1e-2 * largest_of_all;
  for (const float v : got) {
    ASSERT_TRUE(std::isfinite(v)) << name;
    scale = std::max(scale, static_cast<double>(std::abs(v)));
  }
  const std::vector<std::size_t> places = sampled(values.size(), most);
  Values some;
  for (const std::size_t at : places) some.push_back(values[at]);
  const auto put = [&](const Values& x) {
    for (std::size_t i = 0; i < places.size(); ++i) values[places[i]] = x[i];
  };
  const Values expected = numeric_gradient(
      [&](const Values& x) {
        put(x);
        return loss();
      },
      some);
  put(some);
  for (std::size_t i = 0; i < places.size(); ++i) {
    ASSERT_NEAR(got[places[i]], expected[i], kGradientTolerance * scale + 1e-11)
        << name << "[" << places[i] << "], largest " << scale;
  }
}

inline std::vector<float> part(const std::vector<float>& buffer,
                               const parallel::ParameterInfo& row) {
  const auto first = buffer.begin() + row.offset;
  return {first, first + row.count()};
}

// Of fp32, as gradients are.
inline double largest_of(const std::vector<float>& values) {
  double most = 0;
  for (const float v : values) most = std::max(most, static_cast<double>(std::abs(v)));
  return most;
}

inline std::vector<float> unwritten(std::int64_t count) {
  return std::vector<float>(static_cast<std::size_t>(count),
                            std::numeric_limits<float>::quiet_NaN());
}

// Batches that a layer must get right: one token; fewer than the convolution reaches; documents of
// one token; several documents per sequence and sequences of one.
inline const std::vector<Rows>& all_rows() {
  static const std::vector<Rows> rows = {
      {1, 1, positions_of({1})},
      {1, 2, positions_of({2})},
      {2, 3, positions_of({3, 1, 2})},
      {1, 5, positions_of({1, 1, 1, 1, 1})},
      {3, 1, positions_of({1, 1, 1})},
      {1, 9, positions_of({9})},
      {2, 8, positions_of({3, 1, 4, 1, 7})},
      {2, 11, positions_of({11, 2, 2, 7})},
  };
  return rows;
}

inline std::string text_of(const Rows& rows) {
  std::string text = std::to_string(rows.sequences) + " x " + std::to_string(rows.length) + ":";
  for (const std::int32_t position : rows.positions) text += " " + std::to_string(position);
  return text;
}

}  // namespace eyrie::test
