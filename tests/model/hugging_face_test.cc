// A Hugging Face directory: the logits that transformers and the official code give for it, and
// what is refused.
#include "model/hugging_face.h"

#include <gtest/gtest.h>

#include <fstream>

#include "model/griffin.h"
#include "support/fixture.h"
#include "support/scratch_folder.h"

namespace eyrie::model {
namespace {

using tensor::DType;
using tensor::Tensor;
using test::Fixture;
using test::fixtures;

std::vector<float> logits_of(const GriffinConfig& config, const Fixture& expected) {
  const Griffin griffin(config);
  auto parameters = Parameters::for_inference(griffin.units(), DType::kFloat32);
  HuggingFaceWeights(fixtures() / "hf_tiny").map(parameters);
  const auto tokens = expected.ints("tokens");
  const std::int64_t sequences = expected.shape("tokens")[0], length = expected.shape("tokens")[1];
  Workspace workspace;
  State state(config, DType::kFloat32, sequences);
  const Tensor hidden = griffin.read(parameters, tokens, length, state, workspace);
  std::vector<float> logits(static_cast<std::size_t>(sequences * length * config.vocabulary));
  griffin.logits(parameters, hidden,
                 {logits.data(), DType::kFloat32, sequences * length, config.vocabulary});
  return logits;
}

void expect_near(const std::vector<float>& got, const std::vector<float>& expected) {
  ASSERT_EQ(got.size(), expected.size());
  float worst = 0;
  for (std::size_t i = 0; i < got.size(); ++i)
    worst = std::max(worst, std::abs(got[i] - expected[i]));
  EXPECT_LE(worst, 5e-5f);
}

TEST(HuggingFace, LogitsAreThoseOfTransformersAndOfTheOfficialCode) {
  const Fixture expected(fixtures() / "hf_tiny/expected.h5");
  const auto logits = logits_of(read_hugging_face_config(fixtures() / "hf_tiny"), expected);
  expect_near(logits, expected.floats("logits_hf"));
  expect_near(logits, expected.floats("logits_jax"));
}

TEST(HuggingFace, PastTheWindowTheirWindowIsOneMore) {
  const Fixture expected(fixtures() / "hf_tiny/expected.h5");
  auto config = read_hugging_face_config(fixtures() / "hf_tiny");
  config.window =
      static_cast<std::int64_t>(expected.number("attention_window_size", "past_window"));
  const auto logits = logits_of(config, expected);
  expect_near(logits, expected.floats("past_window/logits_jax"));
  expect_near(logits, expected.floats("past_window/logits_hf_window_plus_1"));
}

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const base::InputError& error) {
    return error.what();
  }
  return "nothing was thrown";
}

TEST(HuggingFace, WhatDoesNotFitIsNamed) {
  const test::ScratchFolder scratch;
  const base::Path folder = scratch.path();
  const std::string config = base::read_file(fixtures() / "hf_tiny/config.json");
  std::string weights = base::read_file(fixtures() / "hf_tiny/model.safetensors");
  const auto write = [&](const std::string& name, const std::string& text) {
    std::ofstream(folder / name, std::ios::binary) << text;
  };
  const auto load = [&] {
    const Griffin griffin(read_hugging_face_config(folder));
    auto parameters = Parameters::for_inference(griffin.units(), DType::kFloat32);
    HuggingFaceWeights(folder).map(parameters);
  };
  EXPECT_NE(message_of(load).find("config.json"), std::string::npos);
  write("config.json", "{");
  EXPECT_NE(message_of(load).find("not JSON"), std::string::npos);
  write("config.json", config);
  EXPECT_NE(message_of(load).find("model.safetensors"), std::string::npos);
  write("model.safetensors", weights.substr(0, weights.size() - 4));
  EXPECT_NE(message_of(load).find("not a whole safetensors file"), std::string::npos);
  write("model.safetensors", weights.substr(0, 5));
  EXPECT_NE(message_of(load).find("shorter than its header length"), std::string::npos);
  std::string renamed = weights;  // one letter of a tensor's name
  renamed.replace(renamed.find("model.final_norm.weight"), 23, "model.final_norm.weighs");
  write("model.safetensors", renamed);
  EXPECT_NE(message_of(load).find("model.final_norm.weight"), std::string::npos);
  std::string huge = weights;
  huge.replace(0, 8, std::string(8, '\x7f'));
  write("model.safetensors", huge);
  EXPECT_NE(message_of(load).find("the header claims"), std::string::npos);
}

}  // namespace
}  // namespace eyrie::model
