// Sizes from a configuration, against published figures.
#include "model/model_statistics.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace eyrie::model {
namespace {

using tensor::DType;

TEST(Size, ParametersByKindOfRecurrentGemma) {
  const Griffin griffin(preset("recurrentgemma-2b"));
  const ParameterKinds kinds = parameter_kinds(griffin);
  const std::int64_t d = 2560, r = 2560, e = 7680;
  EXPECT_EQ(kinds.embedding, 655'360'000);
  EXPECT_EQ(kinds.linear, 18 * (3 * d * r + 2 * r + d));
  EXPECT_EQ(kinds.convolution, 18 * 5 * r);
  EXPECT_EQ(kinds.gates, 18 * 2 * (10 * 256 * 256 + r));
  EXPECT_EQ(kinds.decay, 18 * r);
  EXPECT_EQ(kinds.attention, 8 * (2 * d * d + 2 * d * 256 + d));
  EXPECT_EQ(kinds.mlp, 26 * (3 * d * e + 2 * e + d));
  EXPECT_EQ(kinds.norms, 53 * d);
  EXPECT_EQ(kinds.all(), 2'682'862'080);
  EXPECT_EQ(kinds.all(), parameter_count(griffin.units()));
}

// The published numbers are those of W key slots; a layer here keeps one more.
TEST(Size, StateOfRecurrentGemma) {
  const GriffinConfig small = preset("recurrentgemma-2b"), large = preset("recurrentgemma-9b");
  const auto slot = [](std::int64_t layers, std::int64_t bytes) {
    return layers * 2 * 256 * bytes;
  };
  EXPECT_EQ(state_bytes(small, DType::kBFloat16).fixed, 460'800 + 16'777'216 + slot(8, 2));
  EXPECT_EQ(state_bytes(large, DType::kBFloat16).fixed, 1'064'960 + 25'165'824 + slot(12, 2));
  EXPECT_NEAR(state_bytes(small, DType::kFloat32).fixed * 1e-6, 34.29, 0.03);
  EXPECT_NEAR(state_bytes(large, DType::kFloat32).fixed * 1e-6, 52.04, 0.04);
  EXPECT_EQ(state_bytes(small, DType::kBFloat16).per_token, 0);
}

TEST(Size, OnlyGlobalAttentionGrowsWithTheText) {
  const StateBytes hawk = state_bytes(preset("hawk-100m"), DType::kFloat32);
  EXPECT_EQ(hawk.fixed, 12 * 1024 * 16);
  EXPECT_EQ(hawk.per_token, 0);
  const StateBytes mqa = state_bytes(preset("mqa-100m"), DType::kBFloat16);
  EXPECT_EQ(mqa.fixed, 0);
  EXPECT_EQ(mqa.per_token, 12 * 2 * 128 * 2);
}

TEST(Size, AttentionFlopsCountThePairsOneByOne) {
  GriffinConfig config = preset("griffin-10m");
  config.layers = "AGA";
  config.window = 5;
  const Griffin griffin(config);
  for (const std::int64_t length : {1, 4, 6, 7, 40}) {
    double keys = 0;
    for (std::int64_t t = 1; t <= length; ++t)
      keys += static_cast<double>(2 * std::min<std::int64_t>(t, 6) + t);
    const TokenFlops flops = token_flops(griffin, length);
    EXPECT_DOUBLE_EQ(flops.attention, 12 * 256 * keys / static_cast<double>(length));
    EXPECT_EQ(flops.recurrence, 0);
  }
}

// 6 per parameter, but for vectors (biases, norms), which are less than half a percent; and the
// same on a tensor rank, which has a slice of the parameters.
TEST(Size, FlopsAreThoseOfTheWholeModel) {
  for (const char* name : {"griffin-10m", "hawk-100m", "mqa-1.3b", "recurrentgemma-2b"}) {
    const Griffin griffin(preset(name));
    const double all = 6 * static_cast<double>(whole_parameter_count(griffin.units())),
                 products = token_flops(griffin, 2048).products;
    EXPECT_LE(products, all) << name;
    EXPECT_GE(products, 0.995 * all) << name;
  }
  const parallel::Mesh mesh = parallel::Mesh::planned({.tensor = 2}, 1);
  EXPECT_EQ(token_flops(Griffin(preset("griffin-10m"), ParallelContext::of(mesh)), 64).all(),
            token_flops(Griffin(preset("griffin-10m")), 64).all());
  const TokenFlops hawk = token_flops(Griffin(preset("hawk-100m")), 2048);
  EXPECT_EQ(hawk.recurrence, 12 * 36 * 1024);
  EXPECT_LT(hawk.recurrence, 0.01 * hawk.products);
}

}  // namespace
}  // namespace eyrie::model
