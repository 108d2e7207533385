// The causal convolution against double: documents, short sequences, carried histories.
#include "tensor/ops/conv1d.h"

#include <cmath>
#include <limits>

#include "support/gradient_check.h"
#include "support/layer_fixture.h"

namespace eyrie::tensor {
namespace {

using test::Array;
using test::expect_near;
using test::kBothDTypes;
using test::positions_of;

struct Sizes {
  std::int64_t sequences, channels;
  std::vector<std::int32_t> positions;  // of all sequences
  std::int64_t tokens() const { return static_cast<std::int64_t>(positions.size()); }
  std::int64_t length() const { return tokens() / sequences; }
};

const std::vector<Sizes>& cases() {
  static const std::vector<Sizes> all = {
      {1, 1, positions_of({1})},
      {2, 3, positions_of({1, 1})},
      {2, 17, positions_of({2, 2})},
      {3, 64, positions_of({3, 3, 3})},
      {1, 33, positions_of({20})},
      {2, 70, positions_of({8, 3, 1, 1, 2, 15})},  // documents; two of one token
      {2, 129, positions_of({1, 1, 1, 1, 1, 5})},
      {1, 20, {}},
      {1, 3, positions_of({254, 3, 260})},  // more than two blocks of time
      {1, 515, positions_of({6, 3})},       // more than one tile of channels
  };
  return all;
}

// x, y: tokens · channels numbers; history: sequences · 3 · channels or empty.
std::vector<double> reference(const Sizes& s, const std::vector<double>& x,
                              const std::vector<double>& w, const std::vector<double>& b,
                              const std::vector<double>& history) {
  const std::int64_t channels = s.channels;
  std::vector<double> y;
  for (std::int64_t n = 0; n < s.tokens(); ++n) {
    const std::int64_t t = n % s.length(), sequence = n / s.length();
    for (std::int64_t c = 0; c < channels; ++c) {
      double sum = b[static_cast<std::size_t>(c)];
      for (std::int64_t shift = 0; shift < 4; ++shift) {
        if (shift > s.positions[static_cast<std::size_t>(n)]) break;  // an earlier document
        double input = 0;
        if (t - shift >= 0) {
          input = x[static_cast<std::size_t>((n - shift) * channels + c)];
        } else if (!history.empty()) {
          input = history[static_cast<std::size_t>((sequence * 3 + 3 + t - shift) * channels + c)];
        }
        sum += w[static_cast<std::size_t>((3 - shift) * channels + c)] * input;
      }
      y.push_back(sum);
    }
  }
  return y;
}

TEST(Conv1d, ForwardWithoutHistory) {
  for (const Sizes& s : cases()) {
    for (const DType dtype : kBothDTypes) {
      const Array x = Array::normal(dtype, s.tokens(), s.channels, 1),
                  w = Array::normal(DType::kFloat32, 4, s.channels, 2),
                  b = Array::normal(DType::kFloat32, 1, s.channels, 3);
      Array y(dtype, s.tokens(), s.channels);
      conv1d(x, w, b, Array::ints(s.positions), s.sequences, y, {});
      expect_near(y, reference(s, x.values(), w.values(), b.values(), {}), 5e-7, "y");
    }
  }
}

TEST(Conv1d, HistoryIsReadAndReplaced) {
  for (Sizes s : cases()) {
    if (s.tokens() == 0) continue;
    for (const bool continues : {false, true}) {
      if (continues) {  // the first documents began before this piece
        for (std::int64_t sequence = 0; sequence < s.sequences; ++sequence) {
          for (std::int64_t t = 0; t < s.length(); ++t) {
            auto& position = s.positions[static_cast<std::size_t>(sequence * s.length() + t)];
            if (t > 0 && position == 0) break;
            position += static_cast<std::int32_t>(1 + sequence);  // 1 or 2 tokens before
          }
        }
      }
      for (const DType dtype : kBothDTypes) {
        const Array x = Array::normal(dtype, s.tokens(), s.channels, 1),
                    w = Array::normal(DType::kFloat32, 4, s.channels, 2),
                    b = Array::normal(DType::kFloat32, 1, s.channels, 3);
        Array history = Array::normal(dtype, s.sequences * 3, s.channels, 4);
        const Array before = history;
        Array y(dtype, s.tokens(), s.channels);
        conv1d(x, w, b, Array::ints(s.positions), s.sequences, y, history);
        expect_near(y, reference(s, x.values(), w.values(), b.values(), before.values()), 5e-7,
                    "y");
        std::vector<double> expected;
        for (std::int64_t sequence = 0; sequence < s.sequences; ++sequence) {
          const std::int32_t last =
              s.positions[static_cast<std::size_t>((sequence + 1) * s.length() - 1)];
          for (std::int64_t ago = 2; ago >= 0; --ago) {
            const std::int64_t t = s.length() - 1 - ago;
            for (std::int64_t c = 0; c < s.channels; ++c) {
              expected.push_back(ago > last ? 0
                                 : t >= 0   ? x(sequence * s.length() + t, c)
                                            : before(sequence * 3 + 3 + t, c));
            }
          }
        }
        expect_near(history, expected, 0, "history");
      }
    }
  }
}

TEST(Conv1d, PiecesGiveTheBitsOfOnePass) {
  const Sizes s{1, 37, positions_of({9, 1, 2, 14})};
  for (const DType dtype : kBothDTypes) {
    const Array x = Array::normal(dtype, s.tokens(), s.channels, 1),
                w = Array::normal(DType::kFloat32, 4, s.channels, 2),
                b = Array::normal(DType::kFloat32, 1, s.channels, 3),
                positions = Array::ints(s.positions);
    Array whole(dtype, s.tokens(), s.channels);
    conv1d(x, w, b, positions, 1, whole, {});
    for (const std::int64_t piece : {1, 2, 3, 4, 7}) {
      Array y(dtype, s.tokens(), s.channels), history = Array::zeros(dtype, 3, s.channels);
      for (std::int64_t t = 0; t < s.tokens(); t += piece) {
        const std::int64_t count = std::min(piece, s.tokens() - t);
        conv1d(x->row_range(t, count), w, b, positions->column_range(t, count), 1,
               y->row_range(t, count), history);
      }
      test::expect_same_bytes(y, whole, "pieces of " + std::to_string(piece));
    }
  }
}

TEST(Conv1d, BackwardAgainstFiniteDifferences) {
  for (const Sizes& s : cases()) {
    for (const DType in : kBothDTypes) {
      for (const DType out : kBothDTypes) {
        const Array dy = Array::normal(DType::kFloat32, s.tokens(), s.channels, 5),
                    x = Array::normal(in, s.tokens(), s.channels, 1),
                    w = Array::normal(DType::kFloat32, 4, s.channels, 2),
                    b = Array::normal(DType::kFloat32, 1, s.channels, 3);
        Array dx(out, s.tokens(), s.channels), dw(DType::kFloat32, 4, s.channels),
            db(DType::kFloat32, 1, s.channels);
        conv1d_backward(dy, x, w, Array::ints(s.positions), s.sequences, dx, dw, db);
        const std::vector<double> upstream = dy.values(), xs = x.values(), ws = w.values(),
                                  bs = b.values();
        // A channel is a convolution of its own: differences of one channel at a time.
        std::vector<double> expected_dx(xs.size()), expected_dw(ws.size()), expected_db(bs.size());
        Sizes one = s;
        one.channels = 1;
        for (std::size_t c = 0; c < bs.size(); ++c) {
          const auto column = [&](const std::vector<double>& all) {
            std::vector<double> values;
            for (std::size_t i = c; i < all.size(); i += bs.size()) values.push_back(all[i]);
            return values;
          };
          const auto put = [&](const std::vector<double>& values, std::vector<double>& all) {
            for (std::size_t i = 0; i < values.size(); ++i) all[i * bs.size() + c] = values[i];
          };
          const auto d = column(upstream), xc = column(xs), wc = column(ws), bc = column(bs);
          const auto loss = [&](const auto& x1, const auto& w1, const auto& b1) {
            return test::weighted_sum(d, reference(one, x1, w1, b1, {}));
          };
          put(test::numeric_gradient([&](const auto& v) { return loss(v, wc, bc); }, xc),
              expected_dx);
          put(test::numeric_gradient([&](const auto& v) { return loss(xc, v, bc); }, wc),
              expected_dw);
          put(test::numeric_gradient([&](const auto& v) { return loss(xc, wc, v); }, bc),
              expected_db);
        }
        expect_near(dx, expected_dx, 1e-6, "dx");
        // Sums of as many fp32 terms as there are tokens.
        const double of_sums = 1e-6 + 1e-8 * static_cast<double>(s.tokens());
        expect_near(dw, expected_dw, of_sums, "dw");
        expect_near(db, expected_db, of_sums, "db");
      }
    }
  }
}

class OfficialConv1d : public testing::TestWithParam<const char*> {};

TEST_P(OfficialConv1d, Numbers) {
  const test::LayerFixture layer(GetParam());
  const Array x = layer.array("in/x"), w = layer.array("params/w"), b = layer.row("params/b"),
              dy = layer.array("dout/y"), positions = Array::ints(layer.ints("in/segment_pos"));
  const std::int64_t sequences = layer.shape("in/x")[0], channels = x->columns();
  const bool cached = layer.has("in/cache");
  Array history =
      cached ? layer.array("in/cache") : Array::zeros(DType::kFloat32, 3 * sequences, channels);
  Array y(DType::kFloat32, x->rows(), channels);
  conv1d(x, w, b, positions, sequences, y, history);
  expect_near(y, layer.values("out/y"), test::kLayerTolerance, "y");
  // The official cache keeps inputs of earlier documents; ours has zeros in their place.
  std::vector<double> cache = layer.values("out/cache");
  const std::int64_t length = x->rows() / sequences;
  for (std::int64_t i = 0; i < 3 * sequences; ++i) {
    const std::int64_t ago = 2 - i % 3;
    if (ago <= positions(0, (i / 3 + 1) * length - 1)) continue;
    for (std::int64_t c = 0; c < channels; ++c)
      cache[static_cast<std::size_t>(i * channels + c)] = 0;
  }
  expect_near(history, cache, 0, "cache");
  if (cached) return;  // the backward pass has no history
  Array dx(DType::kFloat32, x->rows(), channels), dw(DType::kFloat32, 4, channels),
      db(DType::kFloat32, 1, channels);
  conv1d_backward(dy, x, w, positions, sequences, dx, dw, db);
  expect_near(dx, layer.values("grads/in/x"), test::kLayerTolerance, "dx");
  expect_near(dw, layer.values("grads/params/w"), test::kLayerTolerance, "dw");
  expect_near(db, layer.values("grads/params/b"), test::kLayerTolerance, "db");
}

INSTANTIATE_TEST_SUITE_P(Layers, OfficialConv1d,
                         testing::Values("conv1d", "conv1d_documents", "conv1d_short",
                                         "conv1d_cached"));

TEST(Conv1d, NanReachesFourTokensOfItsDocument) {
  const Sizes s{1, 19, positions_of({8, 2, 6})};
  Array x = Array::normal(DType::kFloat32, 16, 19, 1);
  x.put(2, 18, std::numeric_limits<double>::quiet_NaN());
  x.put(9, 0, std::numeric_limits<double>::quiet_NaN());
  const Array w = Array::normal(DType::kFloat32, 4, 19, 2),
              b = Array::normal(DType::kFloat32, 1, 19, 3);
  Array y(DType::kFloat32, 16, 19);
  conv1d(x, w, b, Array::ints(s.positions), 1, y, {});
  for (std::int64_t t = 0; t < 16; ++t) {
    EXPECT_EQ(std::isnan(y(t, 18)), t >= 2 && t < 6) << t;
    EXPECT_EQ(std::isnan(y(t, 0)), t == 9) << t;  // the next document begins at 10
    EXPECT_FALSE(std::isnan(y(t, 7)));
  }
}

TEST(Conv1d, SameBitsOnAnyThreads) {
  const Sizes s{2, 203, positions_of({8, 3, 1, 1, 2, 15})};
  for (const DType dtype : kBothDTypes) {
    const Array x = Array::normal(dtype, s.tokens(), s.channels, 1),
                w = Array::normal(DType::kFloat32, 4, s.channels, 2),
                b = Array::normal(DType::kFloat32, 1, s.channels, 3),
                dy = Array::normal(DType::kFloat32, s.tokens(), s.channels, 4),
                positions = Array::ints(s.positions);
    test::expect_same_bits_on_any_threads([&] {
      Array y(dtype, s.tokens(), s.channels),
          history = Array::zeros(dtype, 6, s.channels), dx(dtype, s.tokens(), s.channels),
          dw(DType::kFloat32, 4, s.channels), db(DType::kFloat32, 1, s.channels);
      conv1d(x, w, b, positions, s.sequences, y, history);
      conv1d_backward(dy, x, w, positions, s.sequences, dx, dw, db);
      return std::vector<Array>{y, history, dx, dw, db};
    });
  }
}

}  // namespace
}  // namespace eyrie::tensor
