// Embedding lookup and its gradient, repeated tokens among them.
#include "tensor/ops/embedding.h"

#include <cmath>
#include <limits>

#include "support/layer_fixture.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/matmul.h"

namespace eyrie::tensor {
namespace {

using test::Array;
using test::expect_near;
using test::kBothDTypes;

struct Sizes {
  std::int64_t vocabulary, width;
  std::vector<std::int32_t> tokens;
};

const std::vector<Sizes>& cases() {
  static const std::vector<Sizes> all = {
      {1, 1, {0, 0, 0}},
      {5, 17, {4, 0, 4, 4, 1, 0}},
      {7, 64, {6}},
      {300, 131, {299, 0, 17, 17, 299, 17, 3, 0, 250, 17, 1, 1, 1, 2, 299, 5, 9, 17}},
      {4, 9, {}},
  };
  return all;
}

TEST(Embedding, RowsTimesScale) {
  for (const Sizes& s : cases()) {
    for (const DType dtype : kBothDTypes) {
      for (const float scale : {1.0f, 5.65625f}) {
        const Array table = Array::normal(dtype, s.vocabulary, s.width, 1);
        const auto count = static_cast<std::int64_t>(s.tokens.size());
        Array out(DType::kFloat32, count, s.width, s.width + 2);
        embed(table, Array::ints(s.tokens), scale, out);
        std::vector<double> expected;
        for (const std::int32_t token : s.tokens) {
          for (std::int64_t c = 0; c < s.width; ++c)
            expected.push_back(static_cast<float>(table(token, c)) * scale);
        }
        expect_near(out, expected, 0, "rows");
      }
    }
  }
}

// In fp32 by hand, in the order of the positions. The multiply-add is one rounding where the target
// has it and two elsewhere, so the last bits may differ.
TEST(Embedding, GradientRowsAddInOrder) {
  for (const Sizes& s : cases()) {
    const float scale = 5.65625f;
    const auto count = static_cast<std::int64_t>(s.tokens.size());
    const Array dout = Array::normal(DType::kFloat32, count, s.width, 2);
    Array dtable = Array::normal(DType::kFloat32, s.vocabulary, s.width, 3);
    std::vector<double> expected = dtable.values();
    for (std::int64_t t = 0; t < count; ++t) {
      for (std::int64_t c = 0; c < s.width; ++c) {
        const auto at =
            static_cast<std::size_t>(s.tokens[static_cast<std::size_t>(t)] * s.width + c);
        expected[at] = static_cast<float>(expected[at] + dout(t, c) * scale);
      }
    }
    embed_backward(dout, Array::ints(s.tokens), scale, dtable);
    expect_near(dtable, expected, 1.2e-7, "dtable");
    test::expect_same_bits_on_any_threads([&] {
      Array again = Array::normal(DType::kFloat32, s.vocabulary, s.width, 3);
      embed_backward(dout, Array::ints(s.tokens), scale, again);
      return std::vector<Array>{again};
    });
  }
}

TEST(Embedding, NanReachesItsTokenAlone) {
  Array dout = Array::normal(DType::kFloat32, 3, 37, 1),
        dtable = Array::zeros(DType::kFloat32, 4, 37);
  dout.put(1, 36, std::numeric_limits<double>::quiet_NaN());
  embed_backward(dout, Array::ints({2, 0, 2}), 2, dtable);
  Array out(DType::kFloat32, 4, 37);
  embed(dtable, Array::ints({3, 2, 1, 0}), 1, out);
  for (std::int64_t r = 0; r < 4; ++r) {
    for (std::int64_t c = 0; c < 37; ++c) {
      EXPECT_EQ(std::isnan(dtable(r, c)), r == 0 && c == 36);
      EXPECT_EQ(std::isnan(out(r, c)), r == 3 && c == 36);
    }
  }
}

TEST(Embedding, SameBitsOnAnyThreads) {
  const Array table = Array::normal(DType::kBFloat16, 50, 203, 1),
              dout = Array::normal(DType::kFloat32, 200, 203, 2);
  std::vector<std::int32_t> tokens;
  for (std::int32_t t = 0; t < 200; ++t) tokens.push_back(t * t % 47);
  test::expect_same_bits_on_any_threads([&] {
    Array out(DType::kFloat32, 200, 203), dtable = Array::zeros(DType::kFloat32, 50, 203);
    embed(table, Array::ints(tokens), 3, out);
    embed_backward(dout, Array::ints(tokens), 3, dtable);
    return std::vector<Array>{out, dtable};
  });
}

TEST(Embedding, TheOfficialEncoder) {
  const test::LayerFixture layer("embedder_encode");
  const Array table = layer.array("params/input_embedding"), dy = layer.array("dout/y"),
              tokens = Array::ints(layer.ints("in/tokens"));
  // √width, rounded to bf16 as the official code does.
  const float scale = to_float(to_bfloat16(std::sqrt(static_cast<float>(table->columns()))));
  Array y(DType::kFloat32, tokens->columns(), table->columns()),
      dtable = Array::zeros(DType::kFloat32, table->rows(), table->columns());
  embed(table, tokens, scale, y);
  embed_backward(dy, tokens, scale, dtable);
  expect_near(y, layer.values("out/y"), test::kLayerTolerance, "y");
  expect_near(dtable, layer.values("grads/params/input_embedding"), test::kLayerTolerance,
              "dtable");
}

TEST(Embedding, TheOfficialDecoder) {
  const test::LayerFixture layer("embedder_decode");
  const Array x = layer.array("in/x"), table = layer.array("params/input_embedding"),
              dcapped = layer.array("dout/capped");
  Array logits(DType::kFloat32, x->rows(), table->rows());
  matmul(x, table, logits, {.transpose_b = true});
  expect_near(logits, layer.values("out/logits"), test::kLayerTolerance, "logits");
  soft_cap(logits, 30);
  expect_near(logits, layer.values("out/capped"), test::kLayerTolerance, "capped");
  for (std::int64_t r = 0; r < logits->rows(); ++r) {
    for (std::int64_t c = 0; c < logits->columns(); ++c) {
      const double unit = logits(r, c) / 30;
      logits.put(r, c, dcapped(r, c) * (1 - unit * unit));
    }
  }
  Array dx(DType::kFloat32, x->rows(), x->columns()),
      dtable(DType::kFloat32, table->rows(), table->columns());
  matmul(logits, table, dx);
  matmul(logits, x, dtable, {.transpose_a = true});
  expect_near(dx, layer.values("grads/in/x"), test::kLayerTolerance, "dx");
  expect_near(dtable, layer.values("grads/params/input_embedding"), test::kLayerTolerance,
              "dtable");
}

}  // namespace
}  // namespace eyrie::tensor
