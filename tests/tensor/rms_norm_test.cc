// RMSNorm and the residual sum before it, against double.
#include "tensor/ops/rms_norm.h"

#include <cmath>
#include <limits>

#include "support/gradient_check.h"
#include "support/layer_fixture.h"

namespace eyrie::tensor {
namespace {

using test::Array;
using test::expect_near;
using test::kBothDTypes;

constexpr std::int64_t kShapes[][2] = {{0, 8}, {1, 1}, {3, 17}, {2, 64}, {9, 100}, {17, 31}};

std::vector<double> norm(const std::vector<double>& x, const std::vector<double>& scale) {
  std::vector<double> y;
  for (std::size_t first = 0; first < x.size(); first += scale.size()) {
    double squares = 0;
    for (std::size_t c = 0; c < scale.size(); ++c) squares += x[first + c] * x[first + c];
    const double rms = std::sqrt(squares / static_cast<double>(scale.size()) + 1e-6);
    for (std::size_t c = 0; c < scale.size(); ++c) y.push_back(x[first + c] / rms * (1 + scale[c]));
  }
  return y;
}

TEST(RmsNorm, ForwardWithAndWithoutResidual) {
  for (const auto& [rows, columns] : kShapes) {
    for (const DType to : kBothDTypes) {
      const Array x = Array::normal(DType::kFloat32, rows, columns, 1, 2, columns + 3);
      const Array delta = Array::normal(DType::kFloat32, rows, columns, 2, 1, columns + 1);
      const Array scale = Array::normal(DType::kFloat32, 1, columns, 3);
      Array y(to, rows, columns, columns + 2), inverse(DType::kFloat32, 1, rows);
      rms_norm(x, scale, y, inverse);
      expect_near(y, norm(x.values(), scale.values()), 1e-6, "y");

      Array sum(DType::kFloat32, rows, columns);
      add_rms_norm(x, delta, sum, scale, y, inverse);
      std::vector<double> expected = x.values();
      for (std::size_t i = 0; i < expected.size(); ++i) expected[i] += delta.values()[i];
      expect_near(sum, expected, 1e-7, "sum");
      expect_near(y, norm(sum.values(), scale.values()), 1e-6, "y of the sum");
      std::vector<double> rms;
      for (std::int64_t r = 0; r < rows; ++r) {
        double squares = 0;
        for (std::int64_t c = 0; c < columns; ++c) squares += sum(r, c) * sum(r, c);
        rms.push_back(1 / std::sqrt(squares / static_cast<double>(columns) + 1e-6));
      }
      expect_near(inverse, rms, 1e-6, "inverse_rms");
    }
  }
}

TEST(RmsNorm, TheSumMayGoInPlace) {
  const Array delta = Array::normal(DType::kFloat32, 5, 37, 2),
              scale = Array::normal(DType::kFloat32, 1, 37, 3);
  Array x = Array::normal(DType::kFloat32, 5, 37, 1), apart(DType::kFloat32, 5, 37),
        y(DType::kFloat32, 5, 37), y_in_place(DType::kFloat32, 5, 37),
        inverse(DType::kFloat32, 1, 5);
  add_rms_norm(x, delta, apart, scale, y, inverse);
  add_rms_norm(x, delta, x, scale, y_in_place, inverse);
  test::expect_same_bytes(x, apart, "sum");
  test::expect_same_bytes(y_in_place, y, "y");
}

TEST(RmsNorm, TinyAndZeroRows) {
  Array x = Array::normal(DType::kFloat32, 3, 20, 1, 1e-4);
  for (std::int64_t c = 0; c < 20; ++c) x.put(1, c, 0);
  const Array scale = Array::normal(DType::kFloat32, 1, 20, 3);
  Array y(DType::kFloat32, 3, 20), inverse(DType::kFloat32, 1, 3);
  rms_norm(x, scale, y, inverse);
  expect_near(y, norm(x.values(), scale.values()), 1e-6, "y");
  for (std::int64_t c = 0; c < 20; ++c) EXPECT_EQ(y(1, c), 0);
}

TEST(RmsNorm, BackwardAgainstFiniteDifferences) {
  for (const auto& [rows, columns] : kShapes) {
    const Array x = Array::normal(DType::kFloat32, rows, columns, 1, 2);
    const Array scale = Array::normal(DType::kFloat32, 1, columns, 3),
                dy = Array::normal(DType::kFloat32, rows, columns, 4);
    Array y(DType::kFloat32, rows, columns), inverse(DType::kFloat32, 1, rows),
        dscale(DType::kFloat32, 1, columns);
    Array dx = Array::normal(DType::kFloat32, rows, columns, 5);
    const std::vector<double> before = dx.values(), upstream = dy.values();
    rms_norm(x, scale, y, inverse);
    rms_norm_backward(dy, x, scale, inverse, dx, dscale);
    auto expected = test::numeric_gradient(
        [&](const std::vector<double>& v) {
          return test::weighted_sum(upstream, norm(v, scale.values()));
        },
        x.values());
    for (std::size_t i = 0; i < expected.size(); ++i) expected[i] += before[i];
    expect_near(dx, expected, 2e-6, "dx");
    expect_near(dscale,
                test::numeric_gradient(
                    [&](const std::vector<double>& v) {
                      return test::weighted_sum(upstream, norm(x.values(), v));
                    },
                    scale.values()),
                2e-6, "dscale");
  }
}

TEST(RmsNorm, TheOfficialNumbers) {
  const test::LayerFixture layer("rms_norm");
  const Array x = layer.array("in/x"), scale = layer.row("params/scale"),
              dy = layer.array("dout/y");
  Array y(DType::kFloat32, x->rows(), x->columns()), inverse(DType::kFloat32, 1, x->rows()),
      dx = Array::zeros(DType::kFloat32, x->rows(), x->columns()),
      dscale(DType::kFloat32, 1, x->columns());
  rms_norm(x, scale, y, inverse);
  rms_norm_backward(dy, x, scale, inverse, dx, dscale);
  expect_near(y, layer.values("out/y"), test::kLayerTolerance, "y");
  expect_near(dx, layer.values("grads/in/x"), test::kLayerTolerance, "dx");
  expect_near(dscale, layer.values("grads/params/scale"), test::kLayerTolerance, "dscale");
}

TEST(RmsNorm, NanStaysInItsRow) {
  Array x = Array::normal(DType::kFloat32, 3, 37, 1), dx = Array::zeros(DType::kFloat32, 3, 37);
  x.put(1, 36, std::numeric_limits<double>::quiet_NaN());
  const Array scale = Array::normal(DType::kFloat32, 1, 37, 2),
              dy = Array::normal(DType::kFloat32, 3, 37, 3);
  Array y(DType::kBFloat16, 3, 37), inverse(DType::kFloat32, 1, 3), dscale(DType::kFloat32, 1, 37);
  rms_norm(x, scale, y, inverse);
  rms_norm_backward(dy, x, scale, inverse, dx, dscale);
  for (std::int64_t c = 0; c < 37; ++c) {
    for (std::int64_t r = 0; r < 3; ++r) {
      EXPECT_EQ(std::isnan(y(r, c)), r == 1);
      EXPECT_EQ(std::isnan(dx(r, c)), r == 1);
    }
    EXPECT_TRUE(std::isnan(dscale(0, c)));
  }
}

TEST(RmsNorm, SameBitsOnAnyThreads) {
  const Array x = Array::normal(DType::kFloat32, 61, 203, 1),
              delta = Array::normal(DType::kFloat32, 61, 203, 2),
              scale = Array::normal(DType::kFloat32, 1, 203, 3);
  test::expect_same_bits_on_any_threads([&] {
    Array sum(DType::kFloat32, 61, 203), y(DType::kBFloat16, 61, 203),
        inverse(DType::kFloat32, 1, 61), dx = Array::zeros(DType::kFloat32, 61, 203),
                                         dscale(DType::kFloat32, 1, 203);
    add_rms_norm(x, delta, sum, scale, y, inverse);
    rms_norm_backward(delta, sum, scale, inverse, dx, dscale);
    return std::vector<Array>{sum, y, inverse, dx, dscale};
  });
}

}  // namespace
}  // namespace eyrie::tensor
