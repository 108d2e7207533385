// Configuration and weights of the whole models among the reference tensors.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "model/griffin.h"
#include "model/inference_parameters.h"
#include "model/training_parameters.h"
#include "support/fixture.h"

namespace eyrie::test {

inline model::GriffinConfig config_of(const Fixture& file) {
  model::GriffinConfig config;
  config.preset = "fixture";
  const auto whole = [&](const char* name) { return static_cast<std::int64_t>(file.number(name)); };
  config.vocabulary = whole("vocab_size");
  config.width = whole("width");
  config.rnn_width = whole("lru_width");
  config.mlp_width = whole("mlp_expanded_width");
  config.heads = config.gate_blocks = whole("num_heads");
  config.layers = file.text("block_types");
  // The Transformer baseline's attention is global: there the window is longer than the rows.
  if (config.layers.find('R') == std::string::npos) config.layers.assign(config.layers.size(), 'G');
  config.window = whole("attention_window_size");
  config.scale_embedding = whole("embeddings_scale_by_sqrt_dim") != 0;
  config.soft_cap = file.number("logits_soft_cap");
  return config;
}

inline void load(const Fixture& file, const std::string& group,
                 model::TrainingParameters& parameters) {
  for (std::size_t u = 0; u < parameters.units().size(); ++u) {
    for (const auto& row : parameters.units()[u].parameters) {
      const auto values = file.floats(group + "/" + row.name);
      ASSERT_EQ(static_cast<std::int64_t>(values.size()), row.count()) << row.name;
      ASSERT_EQ(file.shape(group + "/" + row.name), row.shape) << row.name;
      std::copy(values.begin(), values.end(), parameters.masters(u).f32() + row.offset);
    }
  }
  parameters.refresh_all();
}

// The same weights as inference keeps them.
inline model::InferenceParameters for_inference(const model::TrainingParameters& from,
                                                tensor::DType compute, bool int8 = false) {
  model::InferenceParameters parameters(from.units(), compute, true, int8);
  for (std::size_t u = 0; u < from.units().size(); ++u) {
    for (std::size_t r = 0; r < from.units()[u].parameters.size(); ++r) {
      const auto& row = from.units()[u].parameters[r];
      parameters.store(u, static_cast<int>(r), 0,
                       {from.masters(u).f32() + row.offset, static_cast<std::size_t>(row.count())});
    }
  }
  return parameters;
}

}  // namespace eyrie::test
