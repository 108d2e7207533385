// Local multi-query attention and rotary positions against double.
#include "tensor/ops/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "support/gradient_check.h"
#include "support/layer_fixture.h"
#include "tensor/arena.h"

namespace eyrie::tensor {
namespace {

using test::Array;
using test::expect_near;
using test::kBothDTypes;
using test::positions_of;
using Numbers = std::vector<double>;

struct Case {
  std::int64_t sequences, queries, past, heads, dim, window;
  std::vector<std::int32_t> positions;  // of the queries of all sequences

  std::int64_t keys() const { return past + queries; }
  std::int64_t rows() const { return sequences * queries; }
  AttentionShape shape() const { return {sequences, queries, keys(), heads, dim, window}; }
  std::vector<std::int32_t> first_key() const {
    std::vector<std::int32_t> first;
    for (std::int64_t n = 0; n < rows(); ++n) {
      const std::int64_t seen =
          std::min<std::int64_t>(positions[static_cast<std::size_t>(n)], window);
      first.push_back(static_cast<std::int32_t>(past + n % queries - seen));
    }
    return first;
  }
};

// One document over all sequences' pieces, its first `past` tokens before.
Case continuing(std::int64_t sequences, std::int64_t queries, std::int64_t past, std::int64_t heads,
                std::int64_t dim, std::int64_t window) {
  Case c{sequences, queries, past, heads, dim, window, {}};
  for (std::int64_t n = 0; n < c.rows(); ++n)
    c.positions.push_back(static_cast<std::int32_t>(past + n % queries));
  return c;
}

// The number of queries in a tile follows from the heads: 8 for 32, 64 for 4, 85 for 3, 128 for 1.
const std::vector<Case>& cases() {
  static const std::vector<Case> all = {
      continuing(1, 1, 0, 1, 4, 8),
      continuing(2, 1, 9, 4, 8, 4),  // one query behind a past, outside of the window in part
      continuing(3, 1, 9, 2, 12, 100),
      continuing(2, 20, 0, 4, 8, 8),
      continuing(1, 171, 0, 3, 12, 31),  // two tiles and one query
      continuing(2, 70, 40, 4, 16, 50),
      continuing(1, 9, 5, 32, 8, 2),
      continuing(1, 33, 7, 1, 20, 0),  // a window of nothing but itself
      {1, 300, 0, 1, 20, 1000, positions_of({1, 1, 100, 3, 195})},
      {2, 67, 0, 4, 8, 16, positions_of({30, 1, 36, 64, 1, 2})},
      // Documents that start inside of a piece with a past.
      {1, 12, 6, 2, 8, 5, {6, 7, 8, 9, 0, 1, 2, 0, 0, 1, 2, 3}},
      continuing(1, 0, 0, 4, 8, 8),
      // Several groups of tiles, of 128 queries, whose gradients are added.
      continuing(2, 300, 40, 8, 8, 100),
      {1, 700, 0, 8, 4, 600, positions_of({3, 130, 500, 67})},
  };
  return all;
}

struct Attended {
  Numbers out, log_sum;
};

Attended reference(const Case& c, const Numbers& q, const Numbers& k, const Numbers& v) {
  const auto first = c.first_key();
  const std::int64_t heads = c.heads, dim = c.dim;
  Attended result{Numbers(q.size()), {}};
  for (std::int64_t n = 0; n < c.rows(); ++n) {
    const std::int64_t key0 = n / c.queries * c.keys(), last = c.past + n % c.queries;
    for (std::int64_t h = 0; h < heads; ++h) {
      const double* query = q.data() + (n * heads + h) * dim;
      Numbers chance;
      double most = -1e300, sum = 0;
      for (std::int64_t j = first[static_cast<std::size_t>(n)]; j <= last; ++j) {
        double score = 0;
        for (std::int64_t d = 0; d < dim; ++d)
          score += query[d] * k[static_cast<std::size_t>((key0 + j) * dim + d)];
        chance.push_back(score / std::sqrt(static_cast<double>(dim)));
        most = std::max(most, chance.back());
      }
      for (double& p : chance) sum += p = std::exp(p - most);
      result.log_sum.push_back(most + std::log(sum));
      for (std::size_t i = 0; i < chance.size(); ++i) {
        const std::int64_t j = first[static_cast<std::size_t>(n)] + static_cast<std::int64_t>(i);
        for (std::int64_t d = 0; d < dim; ++d) {
          result.out[static_cast<std::size_t>((n * heads + h) * dim + d)] +=
              chance[i] / sum * v[static_cast<std::size_t>((key0 + j) * dim + d)];
        }
      }
    }
  }
  return result;
}

struct Gradients {
  Numbers dq, dk, dv;
};

Gradients reference_backward(const Case& c, const Numbers& dout, const Numbers& q, const Numbers& k,
                             const Numbers& v) {
  const Attended forward = reference(c, q, k, v);
  const auto first = c.first_key();
  const std::int64_t heads = c.heads, dim = c.dim;
  const double scale = 1 / std::sqrt(static_cast<double>(dim));
  Gradients g{Numbers(q.size()), Numbers(k.size()), Numbers(v.size())};
  for (std::int64_t row = 0; row < c.rows() * heads; ++row) {
    const std::int64_t n = row / heads, key0 = n / c.queries * c.keys();
    const auto at = static_cast<std::size_t>(row * dim);
    double delta = 0;
    for (std::size_t d = 0; d < static_cast<std::size_t>(dim); ++d)
      delta += dout[at + d] * forward.out[at + d];
    for (std::int64_t j = first[static_cast<std::size_t>(n)]; j <= c.past + n % c.queries; ++j) {
      const auto key = static_cast<std::size_t>((key0 + j) * dim);
      double score = 0, dchance = 0;
      for (std::size_t d = 0; d < static_cast<std::size_t>(dim); ++d) {
        score += q[at + d] * k[key + d];
        dchance += dout[at + d] * v[key + d];
      }
      const double p = std::exp(score * scale - forward.log_sum[static_cast<std::size_t>(row)]);
      const double dscore = p * (dchance - delta) * scale;
      for (std::size_t d = 0; d < static_cast<std::size_t>(dim); ++d) {
        g.dq[at + d] += dscore * k[key + d];
        g.dk[key + d] += dscore * q[at + d];
        g.dv[key + d] += p * dout[at + d];
      }
    }
  }
  return g;
}

struct Inputs {
  Inputs(const Case& c, DType dtype)
      : q(Array::normal(dtype, c.rows(), c.heads * c.dim, 1, 1.5)),
        k(Array::normal(dtype, c.sequences * c.keys(), c.dim, 2)),
        v(Array::normal(dtype, c.sequences * c.keys(), c.dim, 3)),
        dout(Array::normal(dtype, c.rows(), c.heads * c.dim, 4)),
        first_key(Array::ints(c.first_key())) {}
  Array q, k, v, dout, first_key;
};

struct Results {
  Array out, log_sum, dq, dk, dv;
};

Results run(const Case& c, const Inputs& in) {
  const DType dtype = in.q->dtype();
  Results r{Array(dtype, c.rows(), c.heads * c.dim), Array(DType::kFloat32, c.rows(), c.heads),
            Array(DType::kFloat32, c.rows(), c.heads * c.dim),
            Array(DType::kFloat32, c.sequences * c.keys(), c.dim),
            Array(DType::kFloat32, c.sequences * c.keys(), c.dim)};
  Arena scratch(1 << 16);
  // What was left in the scratch memory must not matter.
  const Tensor before = scratch.allocate(DType::kFloat32, 512, 512);
  std::fill(before.f32(), before.f32() + before.count(), std::numeric_limits<float>::quiet_NaN());
  scratch.release({});
  attention(in.q, in.k, in.v, in.first_key, c.shape(), r.out, r.log_sum, scratch);
  attention_backward(in.dout, in.q, in.k, in.v, r.out, r.log_sum, in.first_key, c.shape(), r.dq,
                     r.dk, r.dv, scratch);
  return r;
}

std::string name_of_case(const Case& c) {
  return std::to_string(c.sequences) + " of " + std::to_string(c.queries) + " behind " +
         std::to_string(c.past) + ", heads " + std::to_string(c.heads) + " of " +
         std::to_string(c.dim) + ", window " + std::to_string(c.window);
}

TEST(Attention, TheReferenceGradientIsThatOfFiniteDifferences) {
  const Case c{1, 7, 2, 2, 4, 3, {2, 3, 4, 0, 1, 0, 1}};
  const Inputs in(c, DType::kFloat32);
  const Numbers q = in.q.values(), k = in.k.values(), v = in.v.values(), d = in.dout.values();
  const Gradients g = reference_backward(c, d, q, k, v);
  const auto check = [&](const Numbers& gradient, const Numbers& x, const auto& loss) {
    const Numbers expected = test::numeric_gradient(loss, x);
    for (std::size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(gradient[i], expected[i], 1e-9) << i;
  };
  check(g.dq, q,
        [&](const Numbers& x) { return test::weighted_sum(d, reference(c, x, k, v).out); });
  check(g.dk, k,
        [&](const Numbers& x) { return test::weighted_sum(d, reference(c, q, x, v).out); });
  check(g.dv, v,
        [&](const Numbers& x) { return test::weighted_sum(d, reference(c, q, k, x).out); });
}

TEST(Attention, ForwardAndBackwardAgainstDouble) {
  for (const Case& c : cases()) {
    for (const DType dtype : kBothDTypes) {
      SCOPED_TRACE(name_of_case(c) + " " + name_of(dtype));
      const Inputs in(c, dtype);
      const Results r = run(c, in);
      const Attended expected = reference(c, in.q.values(), in.k.values(), in.v.values());
      const Gradients g =
          reference_backward(c, in.dout.values(), in.q.values(), in.k.values(), in.v.values());
      // In bf16 probabilities and score gradients are rounded before their products.
      const bool exact = dtype == DType::kFloat32;
      expect_near(r.log_sum, expected.log_sum, 1e-6, "log_sum");
      expect_near(r.out, expected.out, exact ? 1e-6 : 3e-3, "out");
      expect_near(r.dq, g.dq, exact ? 3e-6 : 8e-3, "dq", 0.5);
      expect_near(r.dk, g.dk, exact ? 3e-6 : 8e-3, "dk", 0.5);
      expect_near(r.dv, g.dv, exact ? 3e-6 : 8e-3, "dv", 0.5);
    }
  }
}

// Prefill in chunks and single steps are the operation over fewer queries with more past.
TEST(Attention, PiecesAgreeWithOnePass) {
  const Case whole = continuing(1, 90, 0, 4, 16, 20);
  for (const DType dtype : kBothDTypes) {
    const Inputs in(whole, dtype);
    const Array out = run(whole, in).out;
    for (const std::int64_t piece : {1, 7, 64}) {
      Array pieces(dtype, 90, 64), log_sum(DType::kFloat32, 90, 4);
      Arena scratch;
      for (std::int64_t t = 0; t < 90; t += piece) {
        const Case c = continuing(1, std::min<std::int64_t>(piece, 90 - t), t, 4, 16, 20);
        attention(in.q->row_range(t, c.queries), in.k->row_range(0, c.keys()),
                  in.v->row_range(0, c.keys()), Array::ints(c.first_key()), c.shape(),
                  pieces->row_range(t, c.queries), log_sum->row_range(t, c.queries), scratch);
      }
      expect_near(pieces, out.values(), dtype == DType::kFloat32 ? 1e-6 : 3e-3, "pieces");
    }
  }
}

TEST(Attention, LargeScoresDoNotOverflow) {
  const Case c = continuing(1, 20, 0, 2, 8, 30);
  Inputs in(c, DType::kFloat32);
  for (std::int64_t r = 0; r < 20; ++r) {
    for (std::int64_t d = 0; d < 16; ++d) in.q.put(r, d, in.q(r, d) * 1000);
  }
  const Results r = run(c, in);
  expect_near(r.out, reference(c, in.q.values(), in.k.values(), in.v.values()).out, 1e-3, "out");
  for (const Array* all : {&r.out, &r.log_sum, &r.dq, &r.dk, &r.dv}) {
    for (const double x : all->values()) EXPECT_TRUE(std::isfinite(x));
  }
}

TEST(Attention, NanReachesTheQueriesThatSeeIt) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const Case c = continuing(1, 40, 3, 2, 8, 5);
  for (const DType dtype : kBothDTypes) {
    for (const int where : {0, 1, 2}) {  // query 30, key 33 (its own), value 33
      Inputs in(c, dtype);
      (where == 0 ? in.q : where == 1 ? in.k : in.v).put(where == 0 ? 30 : 33, 3, nan);
      const Results r = run(c, in);
      for (std::int64_t t = 0; t < 40; ++t) {
        if (where == 0 ? t == 30 : t >= 30 && t <= 35) {
          EXPECT_TRUE(std::isnan(r.out(t, 3))) << where << " at " << t;
          EXPECT_EQ(std::isnan(r.log_sum(t, 0)), where != 2) << where << " at " << t;
          EXPECT_TRUE(std::isnan(r.dq(t, 0))) << where << " at " << t;
        } else if (where == 0) {
          // Of a key or value, products may carry it to the other queries of a tile: 0 · NaN.
          EXPECT_FALSE(std::isnan(r.out(t, 3))) << t;
          EXPECT_FALSE(std::isnan(r.dq(t, 0))) << t;
        }
      }
    }
  }
}

TEST(Attention, SameBitsOnAnyThreads) {
  for (const Case& c :
       {cases()[1], cases()[4], cases()[5], cases()[8], cases()[9], cases()[12], cases()[13]}) {
    for (const DType dtype : kBothDTypes) {
      SCOPED_TRACE(name_of_case(c) + " " + name_of(dtype));
      const Inputs in(c, dtype);
      test::expect_same_bits_on_any_threads([&] {
        Results r = run(c, in);
        return std::vector<Array>{r.out, r.log_sum, r.dq, r.dk, r.dv};
      });
    }
  }
}

Numbers rotated(const Numbers& x, std::int64_t columns, std::int64_t dim,
                const std::vector<std::int32_t>& positions, double direction) {
  Numbers y = x;
  const std::int64_t pairs = dim / 4;
  for (std::size_t n = 0; n < positions.size(); ++n) {
    for (std::int64_t head = 0; head < columns / dim; ++head) {
      for (std::int64_t j = 0; j < pairs; ++j) {
        const std::size_t at = n * static_cast<std::size_t>(columns) +
                               static_cast<std::size_t>(head * dim + j),
                          pair = at + static_cast<std::size_t>(pairs);
        const double angle =
            direction * positions[n] *
            std::pow(10000.0, -4.0 * static_cast<double>(j) / static_cast<double>(dim));
        y[at] = x[at] * std::cos(angle) - x[pair] * std::sin(angle);
        y[pair] = x[pair] * std::cos(angle) + x[at] * std::sin(angle);
      }
    }
  }
  return y;
}

TEST(Rope, BothWaysInAllMixtures) {
  for (const auto& [heads, dim] :
       {std::array<std::int64_t, 2>{1, 4}, {3, 8}, {2, 20}, {1, 64}, {4, 76}}) {
    for (const std::vector<std::int32_t>& positions :
         {positions_of({1}), positions_of({5, 1, 14}), std::vector<std::int32_t>{8155, 100000},
          std::vector<std::int32_t>{}}) {
      const auto rows = static_cast<std::int64_t>(positions.size());
      Array cosines(DType::kFloat32, rows, dim / 4), sines(DType::kFloat32, rows, dim / 4);
      rope_angles(Array::ints(positions), dim, cosines, sines);
      for (const DType from : kBothDTypes) {
        for (const DType to : kBothDTypes) {
          for (const bool inverse : {false, true}) {
            const Array x = Array::normal(from, rows, heads * dim, 1, 1, heads * dim + 3);
            Array y(to, rows, heads * dim, heads * dim + 5);
            rope(x, cosines, sines, inverse, y);
            expect_near(y, rotated(x.values(), heads * dim, dim, positions, inverse ? -1 : 1), 3e-7,
                        "rope");
            if (from != to) continue;
            Array in_place = x;
            rope(in_place, cosines, sines, inverse, in_place);
            expect_near(in_place, y.values(), 0, "rope in place");
          }
        }
      }
    }
  }
}

TEST(Rope, TheOfficialNumbers) {
  for (const auto& [group, tolerance] :
       {std::pair{"rope", test::kLayerTolerance}, {"rope_far", 2e-4}}) {
    SCOPED_TRACE(group);
    const test::LayerFixture layer(group);
    const std::int64_t dim = layer.shape("in/x").back(), heads = layer.shape("in/x")[2];
    const Array positions = Array::ints(layer.ints("in/positions"));
    const std::int64_t rows = positions->columns();
    Array x = layer.array("in/x"), dy = layer.array("dout/y");
    Array y(DType::kFloat32, rows * heads, dim), dx(DType::kFloat32, rows * heads, dim);
    Array cosines(DType::kFloat32, rows, dim / 4), sines(DType::kFloat32, rows, dim / 4);
    rope_angles(positions, dim, cosines, sines);
    const auto by_token = [&](const Array& all) { return all->reshaped(rows, heads * dim); };
    rope(by_token(x), cosines, sines, false, by_token(y));
    rope(by_token(dy), cosines, sines, true, by_token(dx));
    expect_near(y, layer.values("out/y"), tolerance, "y");
    expect_near(dx, layer.values("grads/in/x"), tolerance, "dx");
    // Our angles are made in double: far positions lose nothing.
    expect_near(y, layer.values("exact/out/y"), 1e-6, "y in double");
  }
}

TEST(Rope, NanStaysInItsPair) {
  const auto positions = positions_of({4});
  Array x = Array::normal(DType::kFloat32, 4, 40, 1), y(DType::kBFloat16, 4, 40),
        cosines(DType::kFloat32, 4, 5), sines(DType::kFloat32, 4, 5);
  x.put(2, 24, std::numeric_limits<double>::quiet_NaN());  // head 1, element 4: paired with 9
  rope_angles(Array::ints(positions), 20, cosines, sines);
  rope(x, cosines, sines, false, y);
  for (std::int64_t r = 0; r < 4; ++r) {
    for (std::int64_t c = 0; c < 40; ++c)
      EXPECT_EQ(std::isnan(y(r, c)), r == 2 && (c == 24 || c == 29)) << r << ", " << c;
  }
}

TEST(Rope, SameBitsOnAnyThreads) {
  const auto positions = positions_of({100, 33, 67});
  const Array x = Array::normal(DType::kBFloat16, 200, 40, 1);
  test::expect_same_bits_on_any_threads([&] {
    Array y(DType::kBFloat16, 200, 40), cosines(DType::kFloat32, 200, 5),
        sines(DType::kFloat32, 200, 5);
    rope_angles(Array::ints(positions), 20, cosines, sines);
    rope(x, cosines, sines, false, y);
    return std::vector<Array>{cosines, sines, y};
  });
}

}  // namespace
}  // namespace eyrie::tensor
