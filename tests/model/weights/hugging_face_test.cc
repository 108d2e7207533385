// A Hugging Face directory: the logits that transformers and the official code give for it, and
// what is refused.
#include "model/weights/hugging_face.h"
#include "model/inference_parameters.h"

#include <gtest/gtest.h>

#include <fmt/format.h>

#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "model/griffin.h"
#include "model/weights/hugging_face_writer.h"
#include "model/weights/initial_weights.h"
#include "model/weights/safetensors.h"
#include "model/weights/safetensors_writer.h"
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
  InferenceParameters parameters(griffin.units(), DType::kFloat32);
  HuggingFaceWeights(fixtures() / "hf_tiny").map(parameters);
  const auto tokens = expected.ints("tokens");
  const std::int64_t sequences = expected.shape("tokens")[0], length = expected.shape("tokens")[1];
  Workspace workspace;
  State state(config, DType::kFloat32, sequences);
  const Tensor hidden = griffin.prefill(parameters, tokens, length, state, workspace);
  std::vector<float> logits(static_cast<std::size_t>(sequences * length * config.vocabulary));
  griffin.lm_head().logits(parameters, hidden,
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
    InferenceParameters parameters(griffin.units(), DType::kFloat32);
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
  write("model.safetensors", weights);
  EXPECT_EQ(message_of(load), "nothing was thrown");
  // One key of config.json changed, whatever its value in this fixture.
  const auto with = [&](const std::string& key, const nlohmann::json& value) {
    auto changed = nlohmann::json::parse(config);
    changed[key] = value;
    write("config.json", changed.dump());
    return message_of(load);
  };
  const GriffinConfig read = (write("config.json", config), read_hugging_face_config(folder));
  EXPECT_NE(with("rope_theta", 500000.0).find("rope_theta is 500000.0; Griffin has 10000"),
            std::string::npos);
  EXPECT_NE(with("num_key_value_heads", 4).find("num_key_value_heads is 4; Griffin has 1"),
            std::string::npos);
  EXPECT_NE(with("model_type", "gemma").find("model_type is 'gemma'"), std::string::npos);
  const std::size_t layers = read.layers.size();
  EXPECT_NE(
      with("num_hidden_layers", layers - 1)
          .find(fmt::format("tensors that this model does not have: model.layers.{}.", layers - 1)),
      std::string::npos);
  EXPECT_NE(with("vocab_size", read.vocabulary + 1)
                .find(fmt::format("model.embed_tokens.weight is ({}, {}) in place of ({}, {})",
                                  read.vocabulary, read.width, read.vocabulary + 1, read.width)),
            std::string::npos);
}

GriffinConfig small(const std::string& layers) {
  GriffinConfig config = preset("recurrentgemma-2b");
  config.vocabulary = 50;
  config.width = 24;
  config.rnn_width = 40;
  config.mlp_width = 56;
  config.heads = config.gate_blocks = 2;
  config.layers = layers;
  config.window = 7;
  return config;
}

std::map<std::string, std::vector<float>> tensors_in(const base::Path& folder) {
  std::map<std::string, std::vector<float>> all;
  for (const auto& file : std::filesystem::directory_iterator(folder)) {
    if (file.path().extension() != ".safetensors") continue;
    const Safetensors opened(file.path());
    for (const auto& [name, entry] : opened.entries()) {
      all[name].resize(static_cast<std::size_t>(entry.count));
      opened.read(name, 0, entry.count, all[name].data());
    }
  }
  return all;
}

TEST(HuggingFace, RoundTripsAreBitForBitInAnyNumberOfFiles) {
  const test::ScratchFolder scratch;
  write_hugging_face(HuggingFaceWeights(fixtures() / "hf_tiny"), scratch / "one", {});
  EXPECT_EQ(tensors_in(scratch / "one"), tensors_in(fixtures() / "hf_tiny"));
  // Of any fixture a part, so that there are several; a tensor is never cut.
  const auto bytes =
      static_cast<std::int64_t>(std::filesystem::file_size(scratch / "one/model.safetensors"));
  const auto written = write_hugging_face(HuggingFaceWeights(scratch / "one"), scratch / "many",
                                          {.shard_bytes = bytes / 9});
  EXPECT_GT(written.weight_files, 2u);
  EXPECT_FALSE(std::filesystem::exists(scratch / "many/model.safetensors"));
  EXPECT_EQ(tensors_in(scratch / "many"), tensors_in(fixtures() / "hf_tiny"));
  write_hugging_face(HuggingFaceWeights(scratch / "many"), scratch / "again", {});
  EXPECT_EQ(base::read_file(scratch / "again/model.safetensors"),
            base::read_file(scratch / "one/model.safetensors"));
  EXPECT_EQ(base::read_file(scratch / "again/config.json"),
            base::read_file(scratch / "one/config.json"));
  for (const StoredType type : {StoredType::kBFloat16, StoredType::kFloat16}) {
    const std::string name = name_of(type);
    write_hugging_face(HuggingFaceWeights(scratch / "one"), scratch / name, {.type = type});
    const HuggingFaceWeights half(scratch / name);
    EXPECT_EQ(half.type(), type);
    write_hugging_face(half, scratch / (name + "-again"), {});
    EXPECT_EQ(base::read_file(scratch / (name + "-again/model.safetensors")),
              base::read_file(scratch / (name + "/model.safetensors")));
  }
}

TEST(HuggingFace, ConfigurationsComeBack) {
  const test::ScratchFolder scratch;
  int number = 0;
  for (const char* layers : {"R", "A", "RRARRA", "RAAR", "RG", "GA"}) {
    for (const double soft_cap : {0.0, 30.0}) {
      GriffinConfig config = small(layers);
      config.soft_cap = soft_cap;
      const base::Path folder = scratch / std::to_string(++number);
      write_hugging_face(InitialWeights(config, 1), folder, {.tokens = {5, 6, 7}});
      GriffinConfig read = read_hugging_face_config(folder);
      read.preset = config.preset;
      EXPECT_EQ(to_json(read), to_json(config));
      EXPECT_EQ(read_special_tokens(folder).eos, 6);
    }
  }
  // The window unchanged: what transformers then sees is one token less.
  write_hugging_face(InitialWeights(small("RA"), 1), scratch / "same", {.same_window = true});
  EXPECT_EQ(read_hugging_face_config(scratch / "same").window, 6);
}

TEST(HuggingFace, AHeadOfItsOwnIsRefused) {
  const test::ScratchFolder scratch;
  const GriffinConfig config = small("R");
  const InitialWeights source(config, 1);
  write_hugging_face(source, scratch / "in", {});
  for (const bool equal : {true, false}) {
    auto tensors = tensors_in(scratch / "in");
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"];
    if (!equal) tensors["lm_head.weight"].back() += 1;
    const Safetensors before(scratch / "in/model.safetensors");
    std::vector<SafetensorsWriter::Tensor> list;
    for (const auto& [name, values] : tensors) {
      const std::string shape_of = name == "lm_head.weight" ? "model.embed_tokens.weight" : name;
      list.push_back({name, StoredType::kFloat32, before.entries().at(shape_of).shape});
    }
    const base::Path folder = scratch / (equal ? "equal" : "other");
    std::filesystem::create_directory(folder);
    std::filesystem::copy(scratch / "in/config.json", folder);
    SafetensorsWriter writer(folder / "model.safetensors", list);
    for (const auto& [name, values] : tensors)
      writer.append(values.data(), static_cast<std::int64_t>(values.size()));
    writer.commit();
    const std::string message = message_of([&] { const HuggingFaceWeights opened(folder); });
    if (equal) {
      EXPECT_EQ(message, "nothing was thrown");
    } else {
      EXPECT_NE(message.find("lm_head.weight is not equal to"), std::string::npos) << message;
    }
  }
}

TEST(HuggingFace, AFailureLeavesNoModelBehind) {
  const test::ScratchFolder scratch;
  const InitialWeights source(small("RA"), 1);
  for (const char* operation : {"create", "write", "sync", "rename"}) {
    for (int failing = 0; failing < 12; ++failing) {
      const base::Path folder = scratch / "out";
      std::filesystem::create_directory(folder);
      int count = 0;
      base::set_fault_hook([&](std::string_view name, const base::Path&) {
        return name == operation && count++ == failing ? 28 : 0;  // no space left
      });
      bool failed = false;
      try {
        write_hugging_face(source, folder, {.shard_bytes = 20'000});
      } catch (const base::Error&) {
        failed = true;
      }
      base::set_fault_hook(nullptr);
      EXPECT_EQ(std::filesystem::exists(folder / "config.json"), !failed);
      if (failed) {
        EXPECT_TRUE(std::filesystem::is_empty(folder)) << operation << failing;
      }
      std::filesystem::remove_all(folder);
    }
  }
  write_hugging_face(source, scratch / "out", {});
  EXPECT_NE(message_of([&] {
              write_hugging_face(source, scratch / "out", {});
            }).find("is there and not empty"),
            std::string::npos);
}

// Quantized from the mapped file, or read, turned and stored: the same bits.
TEST(HuggingFace, Int8WeightsAreThoseOfTheValues) {
  const test::ScratchFolder scratch;
  for (const StoredType type : {StoredType::kFloat32, StoredType::kBFloat16}) {
    const base::Path folder = scratch / ("as" + std::to_string(static_cast<int>(type)));
    write_hugging_face(InitialWeights(small("RRA"), 5), folder, {.type = type});
    const HuggingFaceWeights weights(folder);
    const Griffin griffin(weights.config());
    InferenceParameters mapped(griffin.units(), DType::kBFloat16, true, true),
        stored(griffin.units(), DType::kBFloat16, true, true);
    weights.map(mapped);
    read_weights(weights, stored);
    int compared = 0;
    for (std::size_t u = 0; u < griffin.units().size(); ++u) {
      for (std::size_t r = 0; r < griffin.units()[u].parameters.size(); ++r) {
        const int row = static_cast<int>(r);
        if (mapped.stored_dtype(u, row) != DType::kInt8) continue;
        for (std::int64_t part = 0; part < griffin.units()[u].parameters[r].parts; ++part) {
          const Weight a = mapped.matrix(u, row, part), b = stored.matrix(u, row, part);
          const auto same = [](const Tensor& x, const Tensor& y) {
            return x.rows() == y.rows() && x.columns() == y.columns() &&
                   std::memcmp(x.data(), y.data(),
                               static_cast<std::size_t>(x.count() * size_of(x.dtype()))) == 0;
          };
          EXPECT_TRUE(same(a.tensor, b.tensor) && same(a.scales, b.scales))
              << griffin.units()[u].parameters[r].name;
          ++compared;
        }
      }
    }
    EXPECT_GT(compared, 10);
  }
}

}  // namespace
}  // namespace eyrie::model
