// The RG-LRU against double and the official numbers: documents, states, long sequences, decays
// close to one.
#include "tensor/ops/rg_lru.h"

#include <cmath>
#include <limits>

#include "support/gradient_check.h"
#include "support/layer_fixture.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/matmul.h"

namespace eyrie::tensor {
namespace {

using test::Array;
using test::expect_near;
using test::kBothDTypes;
using test::positions_of;
using Numbers = std::vector<double>;

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

struct Sizes {
  std::int64_t sequences, channels;
  std::vector<std::int32_t> positions;
  std::int64_t tokens() const { return static_cast<std::int64_t>(positions.size()); }
  std::int64_t length() const { return tokens() / std::max<std::int64_t>(sequences, 1); }
};

const std::vector<Sizes>& cases() {
  static const std::vector<Sizes> all = {
      {1, 1, positions_of({1})},
      {2, 3, positions_of({1, 1})},
      {1, 17, {5}},                                // one token that continues
      {2, 33, positions_of({8, 3, 1, 1, 2, 15})},  // documents; two of one token
      {3, 64, {4, 5, 6, 7, 0, 1, 2, 3, 9, 0, 0, 0}},
      {1, 129, positions_of({20})},
      {1, 20, {}},
  };
  return all;
}

// All per (token, channel) or per channel, in double.
struct Inputs {
  Numbers u, gate_x, gate_a, bias_x, bias_a, a_param, state;
};
struct Outputs {
  Numbers i, r, h, last;
};

Outputs reference(const Sizes& s, const Inputs& in) {
  const auto channels = static_cast<std::size_t>(s.channels);
  Outputs out;
  Numbers held = in.state;
  for (std::int64_t n = 0; n < s.tokens(); ++n) {
    const auto sequence = static_cast<std::size_t>(n / s.length());
    for (std::size_t c = 0; c < channels; ++c) {
      const std::size_t at = static_cast<std::size_t>(n) * channels + c;
      const double i = sigmoid(in.gate_x[at] + in.bias_x[c]);
      const double r = sigmoid(in.gate_a[at] + in.bias_a[c]);
      const double log_a = -8 * r * std::log1p(std::exp(in.a_param[c]));
      double& h = held[sequence * channels + c];
      if (s.positions[static_cast<std::size_t>(n)] == 0) {
        h = i * in.u[at];
      } else {
        h = std::exp(log_a) * h + std::sqrt(-std::expm1(2 * log_a)) * i * in.u[at];
      }
      out.i.push_back(i);
      out.r.push_back(r);
      out.h.push_back(h);
    }
  }
  out.last = held;
  return out;
}

struct Gradients {
  Numbers du, dgate_x, dgate_a, dbias_x, dbias_a, da_param, dstate;
};

// The chain rule backwards over time, from the outputs of the forward pass as they were stored.
Gradients reference_backward(const Sizes& s, const Inputs& in, const Outputs& out,
                             const Numbers& dh, const Numbers& dlast) {
  const auto channels = static_cast<std::size_t>(s.channels);
  Gradients g{Numbers(in.u.size()),
              Numbers(in.u.size()),
              Numbers(in.u.size()),
              Numbers(channels),
              Numbers(channels),
              Numbers(channels),
              dlast};
  for (std::int64_t n = s.tokens() - 1; n >= 0; --n) {
    const auto sequence = static_cast<std::size_t>(n / s.length());
    for (std::size_t c = 0; c < channels; ++c) {
      const std::size_t at = static_cast<std::size_t>(n) * channels + c;
      double& carried = g.dstate[sequence * channels + c];
      const double arrives = dh[at] + carried, i = out.i[at], r = out.r[at];
      const double log_decay = -8 * std::log1p(std::exp(in.a_param[c]));
      double m = 1, dlog_a = 0;
      if (s.positions[static_cast<std::size_t>(n)] == 0) {
        carried = 0;
      } else {
        const double before =
            n % s.length() > 0 ? out.h[at - channels] : in.state[sequence * channels + c];
        const double a = std::exp(log_decay * r);
        m = std::sqrt(-std::expm1(2 * log_decay * r));
        const double slope = std::min(0.5 / m, 1000.0);
        dlog_a = arrives * (a * before - 2 * a * a * slope * i * in.u[at]);
        carried = arrives * a;
      }
      g.du[at] = arrives * m * i;
      g.dgate_x[at] = arrives * m * in.u[at] * i * (1 - i);
      g.dgate_a[at] = dlog_a * log_decay * r * (1 - r);
      g.dbias_x[c] += g.dgate_x[at];
      g.dbias_a[c] += g.dgate_a[at];
      g.da_param[c] += dlog_a * r * -8 * sigmoid(in.a_param[c]);
    }
  }
  return g;
}

// The same layer as matrices of ours.
struct Layer {
  Layer(const Sizes& s, DType dtype)
      : u(Array::normal(dtype, s.tokens(), s.channels, 1)),
        gate_x(Array::normal(DType::kFloat32, s.tokens(), s.channels, 2)),
        gate_a(Array::normal(DType::kFloat32, s.tokens(), s.channels, 3)),
        bias_x(Array::normal(DType::kFloat32, 1, s.channels, 4)),
        bias_a(Array::normal(DType::kFloat32, 1, s.channels, 5)),
        a_param(Array::normal(DType::kFloat32, 1, s.channels, 6)),
        positions(Array::ints(s.positions)),
        state(Array::normal(DType::kFloat32, s.sequences, s.channels, 7)) {
    for (std::int64_t c = 0; c < s.channels; ++c) a_param.put(0, c, a_param(0, c) * 1.5 - 3);
  }
  Inputs inputs() const {
    return {u.values(),      gate_x.values(),  gate_a.values(), bias_x.values(),
            bias_a.values(), a_param.values(), state.values()};
  }
  Array u, gate_x, gate_a, bias_x, bias_a, a_param, positions, state;
};

Numbers zeros_like(const Numbers& x) { return Numbers(x.size(), 0.0); }

TEST(RgLru, ForwardWithAndWithoutState) {
  for (const Sizes& s : cases()) {
    for (const DType dtype : kBothDTypes) {
      for (const bool with_state : {false, true}) {
        Layer layer(s, dtype);
        Inputs in = layer.inputs();
        if (!with_state) in.state = zeros_like(in.state);
        const Outputs expected = reference(s, in);
        Array h(dtype, s.tokens(), s.channels);
        rg_lru(layer.u, layer.gate_x, layer.gate_a, layer.bias_x, layer.bias_a, layer.a_param,
               layer.positions, s.sequences, h,
               with_state ? static_cast<const Tensor&>(layer.state) : Tensor());
        expect_near(h, expected.h, 2e-6, "h");
        expect_near(layer.gate_x, expected.i, 1e-6, "i");
        expect_near(layer.gate_a, expected.r, 1e-6, "r");
        if (with_state && s.tokens() > 0) expect_near(layer.state, expected.last, 2e-6, "state");
      }
    }
  }
}

TEST(RgLru, TheReferenceGradientIsThatOfFiniteDifferences) {
  const Sizes s{2, 1, positions_of({4, 3, 1, 6})};
  const Layer layer(s, DType::kFloat32);
  const Inputs in = layer.inputs();
  const Numbers dh = Array::normal(DType::kFloat32, s.tokens(), 1, 8).values(),
                dlast = Array::normal(DType::kFloat32, s.sequences, 1, 9).values();
  const Gradients g = reference_backward(s, in, reference(s, in), dh, dlast);
  const auto check = [&](Numbers Inputs::*member, const Numbers& gradient, const char* what) {
    const Numbers expected = test::numeric_gradient(
        [&](const Numbers& x) {
          Inputs moved = in;
          moved.*member = x;
          const Outputs out = reference(s, moved);
          return test::weighted_sum(dh, out.h) + test::weighted_sum(dlast, out.last);
        },
        in.*member);
    for (std::size_t i = 0; i < expected.size(); ++i)
      EXPECT_NEAR(gradient[i], expected[i], 1e-8) << what << " " << i;
  };
  check(&Inputs::u, g.du, "du");
  check(&Inputs::gate_x, g.dgate_x, "dgate_x");
  check(&Inputs::gate_a, g.dgate_a, "dgate_a");
  check(&Inputs::bias_x, g.dbias_x, "dbias_x");
  check(&Inputs::bias_a, g.dbias_a, "dbias_a");
  check(&Inputs::a_param, g.da_param, "da_param");
  check(&Inputs::state, g.dstate, "dstate");
}

TEST(RgLru, BackwardAgainstTheReference) {
  for (const Sizes& s : cases()) {
    for (const DType dtype : kBothDTypes) {
      for (const DType gates : kBothDTypes) {
        for (const bool with_state : {false, true}) {
          Layer layer(s, dtype);
          Inputs in = layer.inputs();
          const Array initial = layer.state;
          if (!with_state) in.state = zeros_like(in.state);
          Array h(dtype, s.tokens(), s.channels);
          const Tensor none;
          rg_lru(layer.u, layer.gate_x, layer.gate_a, layer.bias_x, layer.bias_a, layer.a_param,
                 layer.positions, s.sequences, h,
                 with_state ? static_cast<const Tensor&>(layer.state) : none);
          const Array dh = Array::normal(DType::kFloat32, s.tokens(), s.channels, 8),
                      dlast = Array::normal(DType::kFloat32, s.sequences, s.channels, 9);
          Array du(DType::kFloat32, s.tokens(), s.channels), dgate_x(gates, s.tokens(), s.channels),
              dgate_a(gates, s.tokens(), s.channels), dbias_x(DType::kFloat32, 1, s.channels),
              dbias_a(DType::kFloat32, 1, s.channels), da_param(DType::kFloat32, 1, s.channels),
              dinitial(DType::kFloat32, s.sequences, s.channels);
          rg_lru_backward(
              {.dh = dh,
               .u = layer.u,
               .i = layer.gate_x,
               .r = layer.gate_a,
               .h = h,
               .a_param = layer.a_param,
               .positions = layer.positions,
               .initial_state = with_state ? static_cast<const Tensor&>(initial) : none,
               .dstate_last = with_state ? static_cast<const Tensor&>(dlast) : none,
               .du = du,
               .dgate_x = dgate_x,
               .dgate_a = dgate_a,
               .dbias_x = dbias_x,
               .dbias_a = dbias_a,
               .da_param = da_param,
               .dinitial_state = with_state ? static_cast<const Tensor&>(dinitial) : none},
              s.sequences);
          const Outputs stored{layer.gate_x.values(), layer.gate_a.values(), h.values(), {}};
          const Gradients expected = reference_backward(
              s, in, stored, dh.values(), with_state ? dlast.values() : zeros_like(dlast.values()));
          expect_near(du, expected.du, 3e-6, "du");
          expect_near(dgate_x, expected.dgate_x, 3e-6, "dgate_x");
          expect_near(dgate_a, expected.dgate_a, 3e-6, "dgate_a");
          expect_near(dbias_x, expected.dbias_x, 3e-6, "dbias_x");
          expect_near(dbias_a, expected.dbias_a, 3e-6, "dbias_a");
          expect_near(da_param, expected.da_param, 3e-6, "da_param");
          if (with_state) expect_near(dinitial, expected.dstate, 3e-6, "dinitial_state");
        }
      }
    }
  }
}

TEST(RgLru, PiecesGiveTheBitsOfOnePass) {
  const Sizes s{1, 37, positions_of({9, 1, 2, 14})};
  for (const DType dtype : kBothDTypes) {
    Layer whole(s, dtype);
    Array h(dtype, s.tokens(), s.channels), end = Array::zeros(DType::kFloat32, 1, s.channels);
    rg_lru(whole.u, whole.gate_x, whole.gate_a, whole.bias_x, whole.bias_a, whole.a_param,
           whole.positions, 1, h, end);
    for (const std::int64_t piece : {1, 2, 5, 25}) {
      Layer part(s, dtype);
      Array pieces(dtype, s.tokens(), s.channels),
          state = Array::zeros(DType::kFloat32, 1, s.channels);
      for (std::int64_t t = 0; t < s.tokens(); t += piece) {
        const std::int64_t count = std::min(piece, s.tokens() - t);
        const auto rows = [&](const Array& all) { return all->row_range(t, count); };
        rg_lru(rows(part.u), rows(part.gate_x), rows(part.gate_a), part.bias_x, part.bias_a,
               part.a_param, part.positions->column_range(t, count), 1, rows(pieces), state);
      }
      test::expect_same_bytes(pieces, h, "pieces of " + std::to_string(piece));
      test::expect_same_bytes(state, end, "the state after pieces of " + std::to_string(piece));
    }
  }
}

// The official layer with its gate products around the operation. `against`: "" for the official
// numbers, "exact/" for those in double.
void check_official(const std::string& group, const std::string& against, double tolerance,
                    double gradient_tolerance) {
  const test::LayerFixture layer(group);
  const Array x = layer.array("in/x"), dy = layer.array("dout/y"),
              dlast = layer.array("dout/h_last");
  const Array wx = layer.array("params/input_gate/w"), wa = layer.array("params/a_gate/w"),
              bx = layer.row("params/input_gate/b"), ba = layer.row("params/a_gate/b"),
              a_param = layer.row("params/a_param"),
              positions = Array::ints(layer.ints("in/segment_pos"));
  const std::int64_t sequences = layer.shape("in/x")[0], rows = x->rows(), channels = x->columns(),
                     width = wx->columns(), blocks = channels / width;
  const bool continues = layer.has("in/h0");
  Array state =
      continues ? layer.array("in/h0") : Array::zeros(DType::kFloat32, sequences, channels);
  const Array initial = state;
  Array i(DType::kFloat32, rows, channels), r(DType::kFloat32, rows, channels),
      h(DType::kFloat32, rows, channels);
  const auto columns = [&](const Array& of, std::int64_t b) {
    return of->column_range(b * width, width);
  };
  const auto weights = [&](const Array& of, std::int64_t b) {
    return of->row_range(b * width, width);
  };
  for (std::int64_t b = 0; b < blocks; ++b) {
    matmul(columns(x, b), weights(wx, b), columns(i, b));
    matmul(columns(x, b), weights(wa, b), columns(r, b));
  }
  rg_lru(x, i, r, bx, ba, a_param, positions, sequences, h, state);
  expect_near(h, layer.values(against + "out/y"), tolerance, "y");
  expect_near(state, layer.values(against + "out/h_last"), tolerance, "h_last");

  Array dx(DType::kFloat32, rows, channels), di(DType::kFloat32, rows, channels),
      dr(DType::kFloat32, rows, channels), dbx(DType::kFloat32, 1, channels),
      dba(DType::kFloat32, 1, channels), da_param(DType::kFloat32, 1, channels),
      dinitial(DType::kFloat32, sequences, channels), dwx(DType::kFloat32, channels, width),
      dwa(DType::kFloat32, channels, width);
  rg_lru_backward({.dh = dy,
                   .u = x,
                   .i = i,
                   .r = r,
                   .h = h,
                   .a_param = a_param,
                   .positions = positions,
                   .initial_state = continues ? static_cast<const Tensor&>(initial) : Tensor(),
                   .dstate_last = dlast,
                   .du = dx,
                   .dgate_x = di,
                   .dgate_a = dr,
                   .dbias_x = dbx,
                   .dbias_a = dba,
                   .da_param = da_param,
                   .dinitial_state = dinitial},
                  sequences);
  for (std::int64_t b = 0; b < blocks; ++b) {
    matmul(columns(x, b), columns(di, b), weights(dwx, b), {.transpose_a = true});
    matmul(columns(x, b), columns(dr, b), weights(dwa, b), {.transpose_a = true});
    const MatmulOptions add{.transpose_b = true, .accumulate = true};
    matmul(columns(di, b), weights(wx, b), columns(dx, b), add);
    matmul(columns(dr, b), weights(wa, b), columns(dx, b), add);
  }
  const std::string grads = against + "grads/";
  expect_near(dx, layer.values(grads + "in/x"), gradient_tolerance, "dx");
  expect_near(dwx, layer.values(grads + "params/input_gate/w"), gradient_tolerance, "dwx");
  expect_near(dwa, layer.values(grads + "params/a_gate/w"), gradient_tolerance, "dwa");
  expect_near(dbx, layer.values(grads + "params/input_gate/b"), gradient_tolerance, "dbx");
  expect_near(dba, layer.values(grads + "params/a_gate/b"), gradient_tolerance, "dba");
  expect_near(da_param, layer.values(grads + "params/a_param"), gradient_tolerance, "da_param");
  if (continues) expect_near(dinitial, layer.values(grads + "in/h0"), gradient_tolerance, "dh0");
}

TEST(RgLru, TheOfficialNumbers) {
  for (const char* group : {"rg_lru", "rg_lru_h0", "rg_lru_step"}) {
    for (const char* against : {"", "exact/"}) {
      SCOPED_TRACE(std::string(group) + " " + against);
      check_official(group, against, test::kLayerTolerance, test::kLayerTolerance);
    }
  }
}

TEST(RgLru, LongSequencesKeepTheirAccuracy) {
  for (const char* against : {"", "exact/"}) {
    SCOPED_TRACE(against);
    check_official("rg_lru_long", against, 2e-5, 1e-4);
  }
}

// 1 − a² down to 1e-9: the official fp32 cancels there, ours must be near the exact numbers.
TEST(RgLru, DecaysCloseToOne) { check_official("rg_lru_sqrt_bound", "exact/", 1e-5, 1e-5); }

TEST(RgLru, ExtremeGatesStayFinite) {
  const Sizes s{1, 8, {1, 2, 3}};
  Layer layer(s, DType::kFloat32);
  const float extreme[] = {-1e6f, -200, -90, -40, 40, 90, 200, 1e6f};
  for (std::int64_t c = 0; c < 8; ++c) {
    layer.gate_x.put(1, c, extreme[c]);
    layer.gate_a.put(1, c, extreme[7 - c]);
    layer.a_param.put(0, c, c % 2 == 0 ? -60 : 60);
  }
  const Array u = layer.u;
  Array h(DType::kFloat32, 3, 8);
  const Array dh = Array::normal(DType::kFloat32, 3, 8, 8);
  rg_lru(layer.u, layer.gate_x, layer.gate_a, layer.bias_x, layer.bias_a, layer.a_param,
         layer.positions, 1, h, layer.state);
  Array du(DType::kFloat32, 3, 8), dgx(DType::kFloat32, 3, 8), dga(DType::kFloat32, 3, 8),
      dbx(DType::kFloat32, 1, 8), dba(DType::kFloat32, 1, 8), dap(DType::kFloat32, 1, 8);
  rg_lru_backward({.dh = dh,
                   .u = u,
                   .i = layer.gate_x,
                   .r = layer.gate_a,
                   .h = h,
                   .a_param = layer.a_param,
                   .positions = layer.positions,
                   .initial_state = {},
                   .dstate_last = {},
                   .du = du,
                   .dgate_x = dgx,
                   .dgate_a = dga,
                   .dbias_x = dbx,
                   .dbias_a = dba,
                   .da_param = dap,
                   .dinitial_state = {}},
                  1);
  for (const Array* all : {&h, &du, &dgx, &dga, &dbx, &dba, &dap}) {
    for (const double v : all->values()) EXPECT_TRUE(std::isfinite(v));
  }
}

TEST(RgLru, NanStaysInItsChannelAndDocument) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const Sizes s{1, 35, positions_of({6, 4})};
  for (const int where : {0, 1, 2}) {
    Layer layer(s, DType::kFloat32);
    (where == 0 ? layer.u : where == 1 ? layer.gate_x : layer.gate_a).put(2, 34, nan);
    Array h(DType::kFloat32, 10, 35);
    rg_lru(layer.u, layer.gate_x, layer.gate_a, layer.bias_x, layer.bias_a, layer.a_param,
           layer.positions, 1, h, {});
    for (std::int64_t t = 0; t < 10; ++t) {
      for (std::int64_t c = 0; c < 35; ++c)
        ASSERT_EQ(std::isnan(h(t, c)), c == 34 && t >= 2 && t < 6)
            << where << ": " << t << " " << c;
    }
  }
  Layer layer(s, DType::kFloat32);
  layer.a_param.put(0, 3, nan);
  Array h(DType::kFloat32, 10, 35);
  rg_lru(layer.u, layer.gate_x, layer.gate_a, layer.bias_x, layer.bias_a, layer.a_param,
         layer.positions, 1, h, {});
  EXPECT_TRUE(std::isnan(h(5, 3)));
}

// Few channels: several threads share the time of a long sequence.
TEST(RgLru, SameBitsOnAnyThreads) {
  const auto all = {Sizes{2, 203, positions_of({8, 3, 1, 1, 2, 15})},
                    Sizes{1, 5, positions_of({700, 2000, 1, 1899})},
                    Sizes{2, 37, positions_of({520})}};
  for (const Sizes& s : all) {
    for (const DType dtype : kBothDTypes) {
      const Array dh = Array::normal(DType::kFloat32, s.tokens(), s.channels, 8);
      test::expect_same_bits_on_any_threads(
          [&] {
            Layer layer(s, dtype);
            Array h(dtype, s.tokens(), s.channels), du(DType::kFloat32, s.tokens(), s.channels),
                dgx(dtype, s.tokens(), s.channels), dga(dtype, s.tokens(), s.channels),
                dbx(DType::kFloat32, 1, s.channels), dba(DType::kFloat32, 1, s.channels),
                dap(DType::kFloat32, 1, s.channels), dinitial(DType::kFloat32, 2, s.channels);
            const Array initial = layer.state;
            rg_lru(layer.u, layer.gate_x, layer.gate_a, layer.bias_x, layer.bias_a, layer.a_param,
                   layer.positions, s.sequences, h, layer.state);
            rg_lru_backward({.dh = dh,
                             .u = layer.u,
                             .i = layer.gate_x,
                             .r = layer.gate_a,
                             .h = h,
                             .a_param = layer.a_param,
                             .positions = layer.positions,
                             .initial_state = initial,
                             .dstate_last = {},
                             .du = du,
                             .dgate_x = dgx,
                             .dgate_a = dga,
                             .dbias_x = dbx,
                             .dbias_a = dba,
                             .da_param = dap,
                             .dinitial_state = dinitial},
                            s.sequences);
            return std::vector<Array>{h, layer.state, du, dgx, dga, dbx, dba, dap, dinitial};
          },
          {2, 5, 13});
    }
  }
}

}  // namespace
}  // namespace eyrie::tensor
