// What ranks with pieces of sequences and slices of the vocabulary compute, put together, is what
// one computes of the whole.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/philox.h"
#include "support/arrays.h"
#include "tensor/ops/conv1d.h"
#include "tensor/ops/cross_entropy.h"
#include "tensor/ops/embedding.h"
#include "tensor/ops/rg_lru.h"

namespace eyrie::tensor {
namespace {

using test::positions_of;

struct Matrix {
  std::int64_t rows, columns;
  std::vector<float> v;
  Matrix(std::int64_t r, std::int64_t c)
      : rows(r), columns(c), v(static_cast<std::size_t>(r * c)) {}
  operator Tensor() { return {v.data(), DType::kFloat32, rows, columns}; }
  Tensor part(std::int64_t first, std::int64_t count) {
    return Tensor(*this).row_range(first, count);
  }
};

Matrix random(const char* what, std::int64_t rows, std::int64_t columns, double scale = 1) {
  Matrix m(rows, columns);
  const base::Philox philox(3, what);
  for (std::size_t i = 0; i < m.v.size(); ++i)
    m.v[i] = static_cast<float>(scale * philox.normal(i));
  return m;
}

void expect_close(const std::vector<float>& got, const std::vector<float>& expected, double share) {
  ASSERT_EQ(got.size(), expected.size());
  float largest = 0;
  for (const float v : expected) largest = std::max(largest, std::abs(v));
  for (std::size_t i = 0; i < got.size(); ++i)
    ASSERT_NEAR(got[i], expected[i], share * largest) << "at " << i;
}

// One sequence of 23 tokens in 19 channels, cut at `cut`; documents across it.
class Cut : public testing::TestWithParam<std::int64_t> {
 protected:
  static constexpr std::int64_t kLength = 23, kChannels = 19;
  std::vector<std::int32_t> place = positions_of({9, 1, 1, 7, 5});
  Tensor places(std::int64_t first, std::int64_t count) {
    return {place.data() + first, DType::kInt32, 1, count};
  }
};
INSTANTIATE_TEST_SUITE_P(Cuts, Cut, testing::Values(3, 4, 8, 9, 10, 11, 12, 13, 18, 19, 20));

TEST_P(Cut, ConvolutionBackward) {
  const std::int64_t cut = GetParam(), rest = kLength - cut;
  Matrix x = random("x", kLength, kChannels), dy = random("dy", kLength, kChannels),
         w = random("w", 4, kChannels);
  Matrix dx(kLength, kChannels), dw(4, kChannels), db(1, kChannels);
  conv1d_backward(dy, x, w, places(0, kLength), 1, dx, dw, db);

  Matrix got(kLength, kChannels), dw1(4, kChannels), dw2(4, kChannels), db1(1, kChannels),
      db2(1, kChannels), none(3, kChannels);
  std::vector<std::int32_t> no_place(3, 0);
  // The first piece sees what comes after it, the second what came before.
  conv1d_backward(dy.part(0, cut), x.part(0, cut), w, places(0, cut), 1, got.part(0, cut), dw1, db1,
                  {none, dy.part(cut, 3), places(cut, 3)});
  conv1d_backward(dy.part(cut, rest), x.part(cut, rest), w, places(cut, rest), 1,
                  got.part(cut, rest), dw2, db2,
                  {x.part(cut - 3, 3), none, Tensor(no_place.data(), DType::kInt32, 1, 3)});
  EXPECT_EQ(got.v, dx.v);
  for (std::size_t i = 0; i < dw1.v.size(); ++i) dw1.v[i] += dw2.v[i];
  for (std::size_t i = 0; i < db1.v.size(); ++i) db1.v[i] += db2.v[i];
  expect_close(dw1.v, dw.v, 1e-6);
  expect_close(db1.v, db.v, 1e-6);
}

TEST_P(Cut, RecurrenceSummaries) {
  const std::int64_t cut = GetParam(), rest = kLength - cut;
  Matrix u = random("u", kLength, kChannels), bias_x = random("bx", 1, kChannels),
         bias_a = random("ba", 1, kChannels), a_param = random("a", 1, kChannels);
  for (float& a : a_param.v) a -= 2.5f;
  const Matrix raw_x = random("gx", kLength, kChannels), raw_a = random("ga", kLength, kChannels);
  Matrix gate_x = raw_x, gate_a = raw_a, h(kLength, kChannels), last(1, kChannels);
  rg_lru(u, gate_x, gate_a, bias_x, bias_a, a_param, places(0, kLength), 1, h, last);

  // The second piece's map applied to the end of the first is the end of all.
  Matrix part_x = raw_x, part_a = raw_a, product(1, kChannels), end(1, kChannels);
  rg_lru_summary(u.part(cut, rest), part_x.part(cut, rest), part_a.part(cut, rest), bias_x, bias_a,
                 a_param, places(cut, rest), 1, product, end);
  EXPECT_EQ(part_x.v, raw_x.v);
  EXPECT_EQ(part_a.v, raw_a.v);
  std::vector<float> total;
  for (std::size_t c = 0; c < kChannels; ++c)
    total.push_back(product.v[c] * h.v[static_cast<std::size_t>(cut - 1) * kChannels + c] +
                    end.v[c]);
  expect_close(total, last.v, 1e-6);

  // Back: what arrives at the state before the second piece, by its map and by the full pass.
  Matrix dh = random("dh", kLength, kChannels), dlast = random("dlast", 1, kChannels);
  Matrix du(kLength, kChannels), dx(kLength, kChannels), da(kLength, kChannels), dbx(1, kChannels),
      dba(1, kChannels), dp(1, kChannels), dinitial(1, kChannels);
  rg_lru_backward({.dh = dh.part(cut, rest),
                   .u = u.part(cut, rest),
                   .i = gate_x.part(cut, rest),
                   .r = gate_a.part(cut, rest),
                   .h = h.part(cut, rest),
                   .a_param = a_param,
                   .positions = places(cut, rest),
                   .initial_state = h.part(cut - 1, 1),
                   .dstate_last = dlast,
                   .du = du.part(cut, rest),
                   .dgate_x = dx.part(cut, rest),
                   .dgate_a = da.part(cut, rest),
                   .dbias_x = dbx,
                   .dbias_a = dba,
                   .da_param = dp,
                   .dinitial_state = dinitial},
                  1);
  Matrix back(1, kChannels), first(1, kChannels);
  rg_lru_backward_summary(dh.part(cut, rest), gate_a.part(cut, rest), a_param, places(cut, rest), 1,
                          back, first);
  for (std::size_t c = 0; c < kChannels; ++c) first.v[c] += back.v[c] * dlast.v[c];
  for (std::size_t c = 0; c < kChannels; ++c)
    EXPECT_NEAR(first.v[c], dinitial.v[c], 1e-6 * (1 + std::abs(dinitial.v[c])));
}

// The vocabulary in slices: even, uneven, empty.
TEST(Slices, CrossEntropy) {
  const std::int64_t rows = 9, vocabulary = 37;
  for (const float cap : {0.0f, 30.0f}) {
    Matrix logits = random("logits", rows, vocabulary, 5);
    std::vector<std::int32_t> targets;
    std::vector<float> weight;
    for (std::int32_t r = 0; r < rows; ++r) {
      targets.push_back(r * 4 % 37);
      weight.push_back(r == 4 ? 0.0f : 1.0f);
    }
    const Tensor target(targets.data(), DType::kInt32, 1, rows),
        mask(weight.data(), DType::kFloat32, 1, rows);
    Matrix whole = logits, nll(1, rows), gradient(rows, vocabulary);
    cross_entropy(whole, target, mask, cap, nll, gradient, 0.5f);
    for (const auto& cuts :
         {std::vector<std::int64_t>{0, 19, 37}, {0, 10, 20, 30, 37}, {0, 37, 37}, {0, 1, 36, 37}}) {
      const auto ranks = static_cast<std::int64_t>(cuts.size()) - 1;
      Matrix sums(ranks, 3 * rows);
      std::vector<Matrix> slices;
      for (std::int64_t k = 0; k < ranks; ++k) {
        const std::int64_t first = cuts[static_cast<std::size_t>(k)],
                           count = cuts[static_cast<std::size_t>(k) + 1] - first;
        slices.emplace_back(rows, count);
        for (std::int64_t r = 0; r < rows; ++r)
          std::copy_n(logits.v.begin() + r * vocabulary + first, count,
                      slices.back().v.begin() + r * count);
        cross_entropy_sums(slices.back(), target, first, cap, sums.part(k, 1).reshaped(rows, 3));
      }
      for (std::int64_t k = 0; k < ranks; ++k) {
        const std::int64_t first = cuts[static_cast<std::size_t>(k)];
        Matrix& slice = slices[static_cast<std::size_t>(k)];
        Matrix got(rows, slice.columns), expected(rows, slice.columns), own_nll(1, rows);
        cross_entropy_split(slice, target, mask, first, cap, sums, own_nll, got, 0.5f);
        for (std::int64_t r = 0; r < rows; ++r)
          std::copy_n(gradient.v.begin() + r * vocabulary + first, slice.columns,
                      expected.v.begin() + r * slice.columns);
        for (std::size_t i = 0; i < got.v.size(); ++i) EXPECT_NEAR(got.v[i], expected.v[i], 1e-6);
        expect_close(own_nll.v, nll.v, 1e-6);
      }
    }
  }
}

TEST(Slices, Embedding) {
  const std::int64_t vocabulary = 11, width = 21;
  Matrix table = random("table", vocabulary, width);
  std::vector<std::int32_t> tokens = {3, 0, 10, 3, 7, 10, 1};
  const auto n = static_cast<std::int64_t>(tokens.size());
  const Tensor ids(tokens.data(), DType::kInt32, 1, n);
  Matrix out(n, width), total(n, width), dout = random("dout", n, width), dtable(vocabulary, width),
                                         slices(vocabulary, width);
  embed(table, ids, 2.0f, out);
  embed_backward(dout, ids, 2.0f, dtable);
  for (const auto& [first, count] : {std::pair{0, 4}, {4, 0}, {4, 7}}) {
    Matrix part(n, width);
    embed(table.part(first, count), ids, 2.0f, part, first);
    for (std::size_t i = 0; i < part.v.size(); ++i) total.v[i] += part.v[i];
    embed_backward(dout, ids, 2.0f, slices.part(first, count), first);
  }
  EXPECT_EQ(total.v, out.v);
  EXPECT_EQ(slices.v, dtable.v);
}

}  // namespace
}  // namespace eyrie::tensor
