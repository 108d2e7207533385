// Sources of weights: official releases, initialisation, and models adapted to transformers.
#include "model/weights/weight_source.h"
#include "model/training_parameters.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>

#include "model/griffin.h"
#include "model/weights/initial_weights.h"
#include "model/weights/named_tensors.h"
#include "model/weights/official_weights.h"
#include "model/weights/safetensors_writer.h"
#include "model/weights/transformers_form.h"
#include "support/fixture.h"
#include "support/scratch_folder.h"
#include "tensor/ops/elementwise.h"
#include "tensor/threads.h"

namespace eyrie::model {
namespace {

using tensor::DType;
using test::Fixture;
using test::fixtures;
using test::message_of;

std::vector<float> all_of(const WeightSource& source, const parallel::ParameterInfo& row) {
  std::vector<float> values(static_cast<std::size_t>(row.count()));
  source.read(row, 0, row.count(), values.data());
  return values;
}

std::vector<float> logits_of(const WeightSource& source, const std::vector<std::int32_t>& tokens) {
  const GriffinConfig& config = source.config();
  const Griffin griffin(config);
  TrainingParameters parameters(griffin.units(), DType::kFloat32);
  for (std::size_t u = 0; u < griffin.units().size(); ++u) {
    for (const auto& row : griffin.units()[u].parameters)
      source.read(row, 0, row.count(), parameters.masters(u).f32() + row.offset);
  }
  parameters.refresh_all();
  const auto length = static_cast<std::int64_t>(tokens.size());
  Workspace workspace;
  State state(config, DType::kFloat32, 1);
  const tensor::Tensor hidden = griffin.prefill(parameters, tokens, length, state, workspace);
  std::vector<float> logits(static_cast<std::size_t>(length * config.vocabulary));
  griffin.lm_head().logits(parameters, hidden,
                           {logits.data(), DType::kFloat32, length, config.vocabulary});
  return logits;
}

float largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  EXPECT_EQ(a.size(), b.size());
  float worst = 0;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i)
    worst = std::max(worst, std::abs(a[i] - b[i]));
  return worst;
}

std::vector<std::int32_t> some_tokens(std::int64_t vocabulary) {
  std::vector<std::int32_t> tokens;
  for (std::int64_t i = 0; i < 40; ++i)
    tokens.push_back(static_cast<std::int32_t>(i * 37 % vocabulary));
  return tokens;
}

GriffinConfig gemma_with_window(std::int64_t window) {
  GriffinConfig config = preset("recurrentgemma-2b");
  config.window = window;
  return config;
}

TEST(OfficialWeights, FlaxNamesInHdf5GiveTheOfficialLogits) {
  const base::Path path = fixtures() / "griffin_tiny.h5";
  const Fixture fixture(path);
  const OfficialWeights source(
      path, gemma_with_window(static_cast<std::int64_t>(fixture.number("attention_window_size"))));
  EXPECT_EQ(source.config().layers, fixture.text("block_types"));
  EXPECT_EQ(source.config().rnn_width, fixture.number("lru_width"));
  const auto shape = fixture.shape("tokens");
  const auto tokens = fixture.ints("tokens");
  const auto expected = fixture.floats("logits");
  const std::vector<std::int32_t> first(tokens.begin(), tokens.begin() + shape[1]);
  const auto got = logits_of(source, first);
  EXPECT_LE(
      largest_difference(got, {expected.begin(), expected.begin() + static_cast<long>(got.size())}),
      5e-5f);
  EXPECT_NE(message_of<base::InputError>([&] {
              const OfficialWeights none(path, std::nullopt);
            }).find("shapes do not say window, soft cap and embedding scale; name the preset"),
            std::string::npos);
}

// The same weights under other names, as the releases have them.
void write_as(const WeightSource& source, Naming naming, const std::string& root, char separator,
              const base::Path& path, const std::string& left_out = "") {
  std::vector<SafetensorsWriter::Tensor> tensors;
  std::vector<std::vector<float>> values;
  for (const auto& row : rows_of(source.config())) {
    if (row.name == left_out) continue;
    const NamedTensor tensor = tensors_of(row, naming).front();
    std::string name = root + tensor.name;
    if (separator == '.') std::replace(name.begin(), name.end(), '/', '.');
    tensors.push_back({name, StoredType::kFloat32, tensor.shape});
    values.push_back(all_of(source, row));
    if (tensor.transposed) {
      const auto ours = values.back();
      tensor::transpose(
          {const_cast<float*>(ours.data()), tensor::DType::kFloat32, row.shape[0], row.shape[1]},
          {values.back().data(), tensor::DType::kFloat32, row.shape[1], row.shape[0]});
    }
  }
  SafetensorsWriter writer(path, tensors);
  for (const auto& one : values) writer.append(one.data(), static_cast<std::int64_t>(one.size()));
  writer.commit();
}

TEST(OfficialWeights, BothReleasesAndAllSeparatorsGiveTheSameRows) {
  const test::ScratchFolder scratch;
  const GriffinConfig given = gemma_with_window(8);
  const OfficialWeights source(fixtures() / "griffin_tiny.h5", given);
  struct Form {
    Naming naming;
    const char* root;
    char separator;
  };
  for (const Form& form : {Form{Naming::kFlax, "", '/'}, Form{Naming::kFlax, "params/", '/'},
                           Form{Naming::kFlax, "params.", '.'}, Form{Naming::kTorch, "", '.'},
                           Form{Naming::kTorch, "params.", '.'}}) {
    const base::Path path = scratch / "weights.safetensors";
    write_as(source, form.naming, form.root, form.separator, path);
    const OfficialWeights copy(path, given);
    EXPECT_EQ(copy.config().layers, source.config().layers);
    for (const auto& row : rows_of(source.config())) {
      const auto expected = all_of(source, row);
      ASSERT_EQ(all_of(copy, row), expected) << form.root << row.name;
      // A range that begins and ends anywhere.
      const std::int64_t first = row.count() / 3, count = row.count() / 2;
      std::vector<float> part(static_cast<std::size_t>(count));
      copy.read(row, first, count, part.data());
      ASSERT_TRUE(std::equal(part.begin(), part.end(), expected.begin() + first)) << row.name;
    }
  }
}

TEST(OfficialWeights, WhatIsWrongIsNamed) {
  const test::ScratchFolder scratch;
  const GriffinConfig given = gemma_with_window(8);
  const OfficialWeights source(fixtures() / "griffin_tiny.h5", given);
  const base::Path path = scratch / "weights.safetensors";
  const auto message = [&](const base::Path& file) {
    return message_of<base::InputError>([&] { const OfficialWeights opened(file, given); });
  };
  const std::string block = fmt::format("blocks.{}", source.config().layers.size() / 2);
  write_as(source, Naming::kTorch, "", '.', path, block + "/mlp_block/ffw_down/kernel");
  EXPECT_NE(message(path).find("1 tensor missing: " + block + ".mlp_block.ffw_down.weight"),
            std::string::npos);
  write_as(source, Naming::kTorch, "", '.', path, "embedder/input_embedding");
  EXPECT_NE(message(path).find("embedder/input_embedding is missing"), std::string::npos);
  // One parameter under two of the names that are read.
  std::vector<SafetensorsWriter::Tensor> twice;
  for (const auto& row : rows_of(source.config()))
    twice.push_back({"params/" + row.name, StoredType::kFloat32, row.shape});
  twice.push_back(twice.back());
  std::replace(twice.back().name.begin(), twice.back().name.end(), '/', '.');
  SafetensorsWriter writer(path, twice);
  for (const auto& tensor : twice) {
    const std::vector<float> zeros(static_cast<std::size_t>(tensor.count()));
    writer.append(zeros.data(), tensor.count());
  }
  writer.commit();
  const std::string both = message(path);
  EXPECT_NE(both.find("are both the parameter final_norm/scale"), std::string::npos) << both;
  EXPECT_NE(message(scratch / "x.pt").find("docs/hugging_face.md"), std::string::npos);
  std::ofstream(scratch / "x.h5") << "no file";
  EXPECT_NE(message(scratch / "x.h5").find("not an HDF5 file"), std::string::npos);
  EXPECT_NE(message(fixtures() / "hf_tiny/model.safetensors").find("official flax or torch"),
            std::string::npos);
}

TEST(InitialWeights, AreThoseOfAnInitialisationInAnyPieceAndOnAnyThreads) {
  GriffinConfig config = preset("griffin-10m");
  config.vocabulary = 500;
  const InitialWeights source(config, 7);
  const Griffin griffin(config);
  TrainingParameters parameters(griffin.units(), DType::kFloat32);
  const int threads = tensor::thread_count();
  tensor::set_thread_count(3);
  parameters.initialise(7);
  tensor::set_thread_count(1);
  for (std::size_t u = 0; u < griffin.units().size(); ++u) {
    for (const auto& row : griffin.units()[u].parameters) {
      const float* expected = parameters.masters(u).f32() + row.offset;
      const auto whole = all_of(source, row);
      ASSERT_TRUE(std::equal(whole.begin(), whole.end(), expected)) << row.name;
      std::vector<float> part(static_cast<std::size_t>(row.count() - row.count() / 3));
      source.read(row, row.count() / 3, static_cast<std::int64_t>(part.size()), part.data());
      ASSERT_TRUE(std::equal(part.begin(), part.end(), expected + row.count() / 3)) << row.name;
    }
  }
  tensor::set_thread_count(threads);
}

TEST(TransformersForm, AnAdaptedModelComputesTheSame) {
  GriffinConfig base = preset("griffin-10m");  // no scale, no soft cap
  base.vocabulary = 300;
  base.width = 40;  // its scale is no power of two
  base.rnn_width = 72;
  base.mlp_width = 56;
  base.heads = 2;
  base.gate_blocks = 6;
  base.window = 9;
  for (const char* layers : {"RRA", "RG", "GG", "RR"}) {
    GriffinConfig config = base;
    config.layers = layers;
    if (config.layers.find('G') != std::string::npos) config.window = 64;  // more than the tokens
    if (std::string(layers) == "RR") config.gate_blocks = 2, config.heads = 5;
    const InitialWeights source(config, 3);
    EXPECT_FALSE(obstacles(config).empty());
    const auto adapted = adapt(source);
    EXPECT_TRUE(obstacles(adapted->config()).empty()) << layers;
    const auto tokens = some_tokens(config.vocabulary);
    const auto expected = logits_of(source, tokens);
    float largest = 0;
    for (const float value : expected) largest = std::max(largest, std::abs(value));
    EXPECT_LE(largest_difference(logits_of(*adapted, tokens), expected), 1e-5f * largest) << layers;
  }
}

TEST(TransformersForm, WhatCannotBeAdaptedIsRefused) {
  EXPECT_TRUE(obstacles(preset("recurrentgemma-9b")).empty());
  GriffinConfig config = preset("recurrentgemma-2b");
  config.layers = "RAG";
  config.vocabulary = 10;
  EXPECT_NE(
      message_of<base::InputError>([&] { adapt(InitialWeights(config, 1)); }).find("both A and G"),
      std::string::npos);
  config = preset("griffin-100m");  // 6 heads, 16 gate blocks
  EXPECT_NE(message_of<base::InputError>([&] {
              adapt(InitialWeights(config, 1));
            }).find("gate_blocks is 16, heads 6"),
            std::string::npos);
}

}  // namespace
}  // namespace eyrie::model
