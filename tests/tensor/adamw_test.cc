// AdamW over several steps against double; sums of squares in their fixed order.
#include "tensor/ops/adamw.h"

#include <cmath>
#include <limits>

#include "support/arrays.h"
#include "tensor/ops/sums.h"

namespace eyrie::tensor {
namespace {

using test::Array;
using test::expect_near;

struct Reference {
  std::vector<double> parameter, moment1, moment2;
  void step(const std::vector<double>& gradient, const AdamWStep& s) {
    for (std::size_t i = 0; i < parameter.size(); ++i) {
      const double g = gradient[i] * s.gradient_scale, b1 = s.beta1, b2 = s.beta2;
      moment1[i] = b1 * moment1[i] + (1 - b1) * g;
      moment2[i] = b2 * moment2[i] + (1 - b2) * g * g;
      const double m = moment1[i] / (1 - std::pow(b1, static_cast<double>(s.step)));
      const double v = moment2[i] / (1 - std::pow(b2, static_cast<double>(s.step)));
      const double change = m / (std::sqrt(v) + s.epsilon) + s.weight_decay * parameter[i];
      parameter[i] -= s.learning_rate * change;
    }
  }
};

TEST(AdamW, StepsAgainstDouble) {
  for (const std::int64_t count : {0, 1, 17, 64, 4096, 4097, 40001}) {
    Array p = Array::normal(DType::kFloat32, 1, count, 1),
          m = Array::zeros(DType::kFloat32, 1, count), v = Array::zeros(DType::kFloat32, 1, count);
    Reference reference{p.values(), m.values(), v.values()};
    for (std::int64_t step = 1; step <= 5; ++step) {
      const Array g = Array::normal(DType::kFloat32, 1, count, 100 + static_cast<unsigned>(step));
      const AdamWStep s{1e-2f, 0.9f, 0.95f, 1e-8f, 0.1f, step == 3 ? 0.25f : 1.0f, step};
      adamw(p, g, m, v, s);
      reference.step(g.values(), s);
      expect_near(m, reference.moment1, 1e-6, "moment1");
      expect_near(v, reference.moment2, 1e-6, "moment2");
      expect_near(p, reference.parameter, 1e-6, "parameter");
    }
  }
}

TEST(AdamW, LateStepsAndWithoutDecay) {
  const Array start = Array::normal(DType::kFloat32, 1, 33, 1),
              g = Array::normal(DType::kFloat32, 1, 33, 2);
  Array p = start, m = Array::normal(DType::kFloat32, 1, 33, 3),
        v = Array::of(DType::kFloat32, 1, 33, std::vector<float>(33, 0.5f));
  Reference reference{p.values(), m.values(), v.values()};
  const AdamWStep s{1e-3f, 0.9f, 0.999f, 1e-8f, 0, 1, 1000000};
  adamw(p, g, m, v, s);
  reference.step(g.values(), s);
  expect_near(p, reference.parameter, 1e-7, "parameter");
}

// No gradient, no moments: 0 / (0 + epsilon), and only the decay acts.
TEST(AdamW, ZeroGradients) {
  Array p = Array::normal(DType::kFloat32, 1, 20, 1), g = Array::zeros(DType::kFloat32, 1, 20),
        m = g, v = g;
  std::vector<double> expected = p.values();
  for (double& x : expected) x *= 1 - 1e-2 * 0.1;
  adamw(p, g, m, v, {1e-2f, 0.9f, 0.95f, 1e-8f, 0.1f, 1, 1});
  expect_near(p, expected, 1e-7, "parameter");
}

TEST(AdamW, NanComesOut) {
  Array p = Array::normal(DType::kFloat32, 1, 20, 1), g = Array::normal(DType::kFloat32, 1, 20, 2),
        m = Array::zeros(DType::kFloat32, 1, 20), v = m;
  g.put(0, 19, std::numeric_limits<double>::quiet_NaN());
  adamw(p, g, m, v, {1e-2f, 0.9f, 0.95f, 1e-8f, 0.1f, 1, 1});
  for (std::int64_t i = 0; i < 20; ++i) {
    EXPECT_EQ(std::isnan(p(0, i)), i == 19);
    EXPECT_EQ(std::isnan(m(0, i)), i == 19);
    EXPECT_EQ(std::isnan(v(0, i)), i == 19);
  }
  EXPECT_TRUE(std::isnan(sum_of_squares(g)));
}

// The optimizer is sharded: a range by itself must give the bits that it has within the whole.
TEST(AdamW, APartHasTheBitsOfTheWhole) {
  const std::int64_t count = 20000;
  const Array g = Array::normal(DType::kFloat32, 1, count, 2);
  const AdamWStep s{1e-2f, 0.9f, 0.95f, 1e-8f, 0.1f, 0.7f, 3};
  const auto run = [&](const std::vector<std::int64_t>& cuts) {
    Array p = Array::normal(DType::kFloat32, 1, count, 1),
          m = Array::normal(DType::kFloat32, 1, count, 3, 0.1),
          v = Array::of(DType::kFloat32, 1, count,
                        std::vector<float>(static_cast<std::size_t>(count), 0.3f));
    for (std::size_t i = 0; i + 1 < cuts.size(); ++i) {
      const auto part = [&](const Array& x) {
        return Tensor(x).column_range(cuts[i], cuts[i + 1] - cuts[i]);
      };
      adamw(part(p), part(g), part(m), part(v), s);
    }
    return std::vector<Array>{p, m, v};
  };
  const std::vector<Array> whole = run({0, 20000}),
                           parts = run({0, 1, 18, 4096, 4103, 12288, 20000});
  for (std::size_t i = 0; i < 3; ++i) test::expect_same_bytes(parts[i], whole[i], "part");
  test::expect_same_bits_on_any_threads([&] { return run({0, 20000}); });
}

TEST(SumOfSquares, InItsFixedOrder) {
  for (const std::int64_t count : {0, 1, 7, 8, 9, 17, 4096, 5003}) {
    const Array x = Array::normal(DType::kFloat32, 1, count, 1);
    double plain = 0, sums[8] = {};
    for (std::int64_t i = 0; i < count; ++i) {
      plain += x(0, i) * x(0, i);
      sums[i % 8] += x(0, i) * x(0, i);
    }
    const double got = sum_of_squares(x);
    EXPECT_NEAR(got, plain, 1e-12 * plain);
    EXPECT_EQ(got, ((sums[0] + sums[1]) + (sums[2] + sums[3])) +
                       ((sums[4] + sums[5]) + (sums[6] + sums[7])));
  }
}

}  // namespace
}  // namespace eyrie::tensor
