// Element-wise operations against double, in all mixtures of dtypes, with strided rows.
#include "tensor/ops/elementwise.h"

#include <cmath>
#include <limits>

#include "support/gradient_check.h"
#include "support/layer_fixture.h"

namespace eyrie::tensor {
namespace {

using test::Array;
using test::expect_near;
using test::kBothDTypes;

// The constant of the official code has ten digits; √(2/π) itself differs below fp32.
double gelu(double x) {
  return 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::acos(-1.0)) * (x + 0.044715 * x * x * x)));
}

constexpr std::int64_t kShapes[][2] = {{0, 5}, {1, 1}, {3, 17}, {2, 64}, {5, 255}, {33, 31}};

std::vector<double> map(const Array& x, const std::function<double(double)>& f) {
  std::vector<double> all = x.values();
  for (double& v : all) v = f(v);
  return all;
}

TEST(Convert, BetweenAllTypesAndStrides) {
  for (const auto& [rows, columns] : kShapes) {
    for (const DType from : kBothDTypes) {
      for (const DType to : kBothDTypes) {
        const Array x = Array::normal(from, rows, columns, 1, 1, columns + 3);
        Array y(to, rows, columns, columns + 1);
        convert(x, y);
        // Exact up to the one rounding.
        expect_near(y, Array::of(to, rows, columns, x.values()).values(), 0, "convert");
      }
    }
  }
}

TEST(Add, IntoFp32) {
  for (const auto& [rows, columns] : kShapes) {
    for (const DType from : kBothDTypes) {
      const Array x = Array::normal(from, rows, columns, 1, 1, columns + 3);
      Array y = Array::normal(DType::kFloat32, rows, columns, 2, 1, columns + 5);
      std::vector<double> expected = y.values();
      for (std::size_t i = 0; i < expected.size(); ++i) expected[i] += x.values()[i];
      add(x, y);
      expect_near(y, expected, 1e-7, "add");
    }
  }
}

TEST(ColumnSum, AddsRowsInOrder) {
  for (const auto& [rows, columns] : {std::array<std::int64_t, 2>{0, 5},
                                      {1, 1},
                                      {7, 3},
                                      {100, 17},
                                      {33, 255},
                                      {20, 1000},
                                      {64, 514}}) {
    for (const DType from : kBothDTypes) {
      for (const bool overwrite : {true, false}) {
        const Array x = Array::normal(from, rows, columns, 1, 1, columns + 3);
        Array out = Array::normal(DType::kFloat32, 1, columns, 2);
        std::vector<double> expected = out.values();
        for (std::int64_t c = 0; c < columns; ++c) {
          float sum = overwrite ? 0.0f : static_cast<float>(out(0, c));
          for (std::int64_t r = 0; r < rows; ++r) sum += static_cast<float>(x(r, c));
          expected[static_cast<std::size_t>(c)] = sum;
        }
        column_sum(x, out, overwrite);
        expect_near(out, expected, 0, "column_sum");  // the very same bits
      }
    }
  }
}

TEST(GeluGate, ForwardInAllMixtures) {
  for (const auto& [rows, columns] : kShapes) {
    for (const DType in : kBothDTypes) {
      for (const DType held : kBothDTypes) {
        for (const DType to : kBothDTypes) {
          const Array gate = Array::normal(in, rows, columns, 1, 3, columns + 3);
          const Array value = Array::normal(held, rows, columns, 2, 1, columns + 1);
          Array out(to, rows, columns, columns + 2);
          gelu_gate(gate, value, out);
          std::vector<double> expected;
          for (std::int64_t r = 0; r < rows; ++r) {
            for (std::int64_t c = 0; c < columns; ++c)
              expected.push_back(gelu(gate(r, c)) * value(r, c));
          }
          expect_near(out, expected, 5e-7, "gelu_gate");
        }
      }
    }
  }
}

TEST(GeluGate, BackwardAgainstFiniteDifferences) {
  for (const auto& [rows, columns] : kShapes) {
    for (const DType upstream : kBothDTypes) {
      for (const DType in : kBothDTypes) {
        for (const DType dvalue_type : kBothDTypes) {
          const Array dout = Array::normal(upstream, rows, columns, 3, 1, columns + 2);
          const Array gate = Array::normal(in, rows, columns, 1, 2, columns + 3);
          const Array value = Array::normal(in, rows, columns, 2, 1, columns + 1);
          Array dgate(in, rows, columns, columns + 4), dvalue(dvalue_type, rows, columns);
          gelu_gate_backward(dout, gate, value, dgate, dvalue);
          const std::vector<double> d = dout.values(), v = value.values();
          std::vector<double> expected_gate, expected_value;
          for (std::size_t i = 0; i < d.size(); ++i) {
            const double g = gate.values()[i];
            const auto slope = test::numeric_gradient(
                [](const std::vector<double>& x) { return gelu(x[0]); }, {g});
            expected_gate.push_back(d[i] * v[i] * slope[0]);
            expected_value.push_back(d[i] * gelu(g));
          }
          expect_near(dgate, expected_gate, 1e-6, "dgate");
          expect_near(dvalue, expected_value, 1e-6, "dvalue");
          // With the activation itself, which may take the place of its gradient.
          Array hidden(in, rows, columns), out(in, rows, columns);
          convert(dout, out);
          gelu_gate(gate, value, hidden);
          Array dgate_beside(in, rows, columns, columns + 4),
              dgate_alone = dgate_beside, dvalue_beside(dvalue_type, rows, columns),
              dvalue_alone = dvalue_beside;
          gelu_gate_backward(out, gate, value, dgate_alone, dvalue_alone);
          gelu_gate_backward(out, gate, value, dgate_beside, dvalue_beside, out);
          test::expect_same_bytes(out, hidden, "out");
          test::expect_same_bytes(dgate_beside, dgate_alone, "dgate beside it");
          test::expect_same_bytes(dvalue_beside, dvalue_alone, "dvalue beside it");
        }
      }
    }
  }
}

TEST(GeluGate, FarArgumentsStayFinite) {
  const std::vector<float> far = {-1e4f, -100, -20, -8, -0.0f, 0.0f, 8, 20, 100, 1e4f};
  const auto count = static_cast<std::int64_t>(far.size());
  const Array gate = Array::of(DType::kFloat32, 1, count, far);
  const Array one = Array::of(DType::kFloat32, 1, count, std::vector<float>(far.size(), 1));
  Array out(DType::kFloat32, 1, count), dgate(DType::kFloat32, 1, count),
      dvalue(DType::kFloat32, 1, count);
  gelu_gate(gate, one, out);
  gelu_gate_backward(one, gate, one, dgate, dvalue);
  for (std::int64_t i = 0; i < count; ++i) {
    EXPECT_NEAR(out(0, i), std::max(gate(0, i), 0.0), 1e-6 + 1e-7 * std::abs(gate(0, i)));
    EXPECT_NEAR(dgate(0, i), gate(0, i) == 0 ? 0.5 : gate(0, i) > 0 ? 1 : 0, 1e-6) << gate(0, i);
    EXPECT_EQ(dvalue(0, i), out(0, i));
  }
}

TEST(GeluGate, TheOfficialTable) {
  const test::LayerFixture layer("gelu_tanh");
  const Array x = layer.row("in/x"), dy = layer.row("dout/y");
  const Array one = Array::of(DType::kFloat32, 1, x->columns(),
                              std::vector<float>(static_cast<std::size_t>(x->columns()), 1.0f));
  Array y(DType::kFloat32, 1, x->columns()), dx(DType::kFloat32, 1, x->columns()),
      dvalue(DType::kFloat32, 1, x->columns());
  gelu_gate(x, one, y);
  gelu_gate_backward(dy, x, one, dx, dvalue);
  expect_near(y, layer.values("out/y"), test::kLayerTolerance, "y");
  expect_near(dx, layer.values("grads/in/x"), test::kLayerTolerance, "dx");
}

TEST(SoftCap, InPlace) {
  for (const auto& [rows, columns] : kShapes) {
    for (const float cap : {30.0f, 0.5f}) {
      Array x = Array::normal(DType::kFloat32, rows, columns, 1, 20, columns + 3);
      const auto expected = map(x, [&](double v) { return cap * std::tanh(v / cap); });
      soft_cap(x, cap);
      expect_near(x, expected, 5e-7, "soft_cap");
    }
  }
}

TEST(Elementwise, NanComesOut) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const DType dtype : kBothDTypes) {
    for (const std::int64_t bad : {0, 20, 36}) {  // in a whole vector and in the last part
      const auto with_nan = [&](DType type, std::uint64_t seed) {
        Array x = Array::normal(type, 2, 37, seed);
        x.put(1, bad, nan);
        return x;
      };
      const auto expect_there = [&](const Array& y, const char* what) {
        for (std::int64_t r = 0; r < y->rows(); ++r) {
          for (std::int64_t c = 0; c < 37; ++c) {
            const bool here = c == bad && r == y->rows() - 1;
            ASSERT_EQ(std::isnan(y(r, c)), here) << what << " " << r << ", " << c;
          }
        }
      };
      const Array x = with_nan(dtype, 1), good = Array::normal(dtype, 2, 37, 2);
      Array y(dtype, 2, 37), sums(DType::kFloat32, 1, 37),
          total = Array::normal(DType::kFloat32, 2, 37, 4);
      convert(x, y);
      expect_there(y, "convert");
      add(x, total);
      expect_there(total, "add");
      column_sum(x, sums, true);
      expect_there(sums, "column_sum");
      gelu_gate(x, good, y);
      expect_there(y, "gelu_gate of a gate");
      gelu_gate(good, x, y);
      expect_there(y, "gelu_gate of a value");
      Array dgate(dtype, 2, 37), dvalue(dtype, 2, 37);
      gelu_gate_backward(x, good, good, dgate, dvalue);
      expect_there(dgate, "dgate");
      expect_there(dvalue, "dvalue");
      gelu_gate_backward(good, x, good, dgate, dvalue);
      expect_there(dgate, "dgate of a gate");
      expect_there(dvalue, "dvalue of a gate");
      Array capped = with_nan(DType::kFloat32, 1);
      soft_cap(capped, 30);
      expect_there(capped, "soft_cap");
    }
  }
}

TEST(Elementwise, SameBitsOnAnyThreads) {
  for (const DType dtype : kBothDTypes) {
    // 700 columns: column_sum's tiles change with the number of threads.
    const Array x = Array::normal(dtype, 61, 700, 1), y = Array::normal(dtype, 61, 700, 2);
    test::expect_same_bits_on_any_threads([&] {
      Array converted(DType::kBFloat16, 61, 700), gated(dtype, 61, 700), dgate(dtype, 61, 700),
          dvalue(DType::kFloat32, 61, 700), total = Array::normal(DType::kFloat32, 61, 700, 3),
                                            sums(DType::kFloat32, 1, 700);
      convert(x, converted);
      gelu_gate(x, y, gated);
      gelu_gate_backward(y, x, y, dgate, dvalue);
      add(x, total);
      column_sum(x, sums, true);
      column_sum(y, sums, false);
      Array capped = total;
      soft_cap(capped, 1.5f);
      return std::vector<Array>{converted, gated, dgate, dvalue, total, sums, capped};
    });
  }
}

TEST(Elementwise, TransposeOfPartsOfWiderMatrices) {
  for (const DType to : test::kBothDTypes) {
    for (const auto& [rows, columns] : {std::pair{1, 1}, {1, 70}, {70, 1}, {33, 65}, {64, 32}}) {
      const Array from = Array::normal(DType::kFloat32, rows, columns, 1, 1, columns + 3);
      Array out(to, columns, rows, rows + 5);
      transpose(from, out);
      for (std::int64_t r = 0; r < rows; ++r) {
        for (std::int64_t c = 0; c < columns; ++c) {
          const auto value = static_cast<float>(from(r, c));
          ASSERT_EQ(out(c, r), to == DType::kFloat32 ? value : to_float(to_bfloat16(value)));
        }
      }
      test::expect_same_bits_on_any_threads([&] {
        Array again(to, columns, rows);
        transpose(from, again);
        return std::vector<Array>{again};
      });
    }
  }
}

}  // namespace
}  // namespace eyrie::tensor
