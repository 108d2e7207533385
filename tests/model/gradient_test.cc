// Values and gradients of every layer and of whole models against finite differences of a forward
// pass in double (support/double_griffin.h): odd sizes, the shortest sequences, packed documents,
// masked losses.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "model/griffin.h"
#include "support/arrays.h"
#include "support/double_griffin.h"
#include "support/gradient_check.h"
#include "tensor/ops/attention.h"

namespace eyrie::model {
namespace {

using tensor::DType;
using test::Array;
using test::DoubleGriffin;
using test::Matrix;
using test::positions_of;
using test::Rows;
using test::Weights;
using Values = std::vector<double>;

// Of the largest gradient of the tensor. Where that itself is only what others leave over (the keys
// of a query that sees nothing but itself have none), of a hundredth of the largest of all.
constexpr double kGradientTolerance = 2e-5;
constexpr double kValueTolerance = 5e-6;

// width 20, RNN 21 in 3 gate blocks, MLP 13, vocabulary 11: nothing is a multiple of a vector.
GriffinConfig odd_config(const std::string& layers, std::int64_t heads, std::int64_t window) {
  GriffinConfig config;
  config.preset = "odd";
  config.vocabulary = 11;
  config.width = 20;
  config.rnn_width = 21;
  config.mlp_width = 13;
  config.heads = heads;
  config.gate_blocks = 3;
  config.layers = layers;
  config.window = window;
  check(config);
  return config;
}

// Numbers of a size that leaves no term out of sight, as fp32 holds them. Decays stay away from 1,
// where the product bounds the derivative of √(1 − a²).
Values fill(const parallel::ParameterRow& row) {
  const base::Philox random(17, row.name);
  const bool product = row.product && row.shape.size() > 1;
  const double deviation =
      product ? 1 / std::sqrt(static_cast<double>(row.shape[row.shape.size() - 2])) : 0.4;
  const bool decay = row.name.ends_with("a_param");
  Values values;
  for (std::int64_t i = 0; i < row.count(); ++i) {
    const double normal = random.normal(static_cast<std::uint64_t>(i));
    const double value = row.name.starts_with("embedder") ? 0.7 * normal
                         : decay                          ? 0.7 * normal - 2.5
                                                          : deviation * normal;
    values.push_back(static_cast<float>(value));
  }
  return values;
}

Weights fill(Parameters& parameters) {
  Weights weights;
  for (std::size_t u = 0; u < parameters.units().size(); ++u) {
    for (const auto& row : parameters.units()[u].rows) {
      const Values values = weights[row.name] = fill(row);
      for (std::size_t i = 0; i < values.size(); ++i)
        parameters.master(u)[static_cast<std::size_t>(row.offset) + i] =
            static_cast<float>(values[i]);
    }
  }
  parameters.refresh_all();
  return weights;
}

// Which elements of a tensor are tried: all of a small one, some of a larger one.
std::vector<std::size_t> sampled(std::size_t count, std::size_t most) {
  std::vector<std::size_t> places;
  const base::Philox random(5, "which elements");
  for (std::size_t i = 0; i < std::min(count, most); ++i)
    places.push_back(static_cast<std::size_t>(random.permute(i, count)));
  return places;
}

// Compares `got`, the gradient of `values`, with finite differences of `loss`, which reads
// `values`.
void expect_gradient(Values& values, const std::vector<float>& got, double largest_of_all,
                     const std::function<double()>& loss, const std::string& name,
                     std::size_t most = 16) {
  ASSERT_EQ(values.size(), got.size()) << name;
  double scale = 1e-2 * largest_of_all;
  for (const float v : got) {
    ASSERT_TRUE(std::isfinite(v)) << name;
    scale = std::max(scale, static_cast<double>(std::abs(v)));
  }
  const std::vector<std::size_t> places = sampled(values.size(), most);
  Values some;
  for (const std::size_t at : places) some.push_back(values[at]);
  const auto put = [&](const Values& x) {
    for (std::size_t i = 0; i < places.size(); ++i) values[places[i]] = x[i];
  };
  const Values expected = test::numeric_gradient(
      [&](const Values& x) {
        put(x);
        return loss();
      },
      some);
  put(some);
  for (std::size_t i = 0; i < places.size(); ++i) {
    ASSERT_NEAR(got[places[i]], expected[i], kGradientTolerance * scale + 1e-11)
        << name << "[" << places[i] << "], largest " << scale;
  }
}

std::vector<float> part(const std::vector<float>& buffer, const parallel::ParameterRow& row) {
  const auto first = buffer.begin() + row.offset;
  return {first, first + row.count()};
}

double largest(const std::vector<float>& values) {
  double most = 0;
  for (const float v : values) most = std::max(most, static_cast<double>(std::abs(v)));
  return most;
}

Matrix matrix_of(const Array& array) {
  Matrix matrix(array->rows(), array->columns());
  matrix.v = array.values();
  return matrix;
}

std::vector<float> floats_of(const Array& array) {
  const Values values = array.values();
  return {values.begin(), values.end()};
}

std::vector<float> unwritten(std::int64_t count) {
  return std::vector<float>(static_cast<std::size_t>(count),
                            std::numeric_limits<float>::quiet_NaN());
}

// Batches that a layer must get right: one token; fewer than the convolution reaches; documents of
// one token; several documents a sequence and sequences of one.
const std::vector<Rows>& all_rows() {
  static const std::vector<Rows> rows = {
      {1, 1, positions_of({1})},
      {1, 2, positions_of({2})},
      {2, 3, positions_of({3, 1, 2})},
      {1, 5, positions_of({1, 1, 1, 1, 1})},
      {3, 1, positions_of({1, 1, 1})},
      {1, 9, positions_of({9})},
      {2, 8, positions_of({3, 1, 4, 1, 7})},
      {2, 11, positions_of({11, 2, 2, 7})},
  };
  return rows;
}

std::string text_of(const Rows& rows) {
  std::string text = std::to_string(rows.sequences) + " x " + std::to_string(rows.length) + ":";
  for (const std::int32_t position : rows.positions) text += " " + std::to_string(position);
  return text;
}

// One block over some rows: y and, for Σ dy · y, dx and every parameter's gradient.
template <class Block>
void check_block(const GriffinConfig& config, const Rows& rows,
                 const std::function<Matrix(const DoubleGriffin&, const Matrix&)>& exact,
                 std::size_t samples = 16) {
  SCOPED_TRACE(text_of(rows));
  parallel::Unit unit{.name = "unit"};
  const auto make = [&] {
    if constexpr (std::is_same_v<Block, MlpBlock>) {
      return Block(config, "block", unit);
    } else {
      return Block(config, "block", 0, unit);
    }
  };
  const Block block = make();
  Parameters parameters({unit}, DType::kFloat32);
  Weights weights = fill(parameters);

  const std::int64_t n = rows.tokens();
  std::vector<std::int32_t> first_key;
  for (std::int64_t t = 0; t < n; ++t) {
    const std::int64_t seen = std::min<std::int64_t>(rows.position(t), config.window);
    first_key.push_back(static_cast<std::int32_t>(t % rows.length - seen));
  }
  const Array positions = Array::ints(rows.positions), first = Array::ints(first_key);
  const Array cosines(DType::kFloat32, n, config.head_dim() / 4), sines = cosines;
  tensor::rope_angles(positions, config.head_dim(), cosines, sines);
  tensor::Arena saved_arena, scratch;
  Pass pass{.parameters = parameters,
            .compute = DType::kFloat32,
            .sequences = rows.sequences,
            .length = rows.length,
            .positions = positions,
            .first_key = first,
            .cosines = cosines,
            .sines = sines,
            .saved = saved_arena,
            .scratch = scratch};
  std::vector<float> gradients = unwritten(unit.size);
  const UnitView view{parameters, 0, gradients.data()};
  const Array x = Array::normal(DType::kFloat32, n, config.width, 21),
              dy = Array::normal(DType::kFloat32, n, config.width, 22);
  Array y(DType::kFloat32, n, config.width), dx(DType::kFloat32, n, config.width);
  typename Block::Saved saved;
  block.forward(x, view, pass, saved, y);
  block.backward(dy, x, view, pass, saved, dx);

  Matrix input = matrix_of(x);
  const Values upstream = dy.values();
  const DoubleGriffin model(config, weights, rows);
  test::expect_near(y, exact(model, input).v, kValueTolerance, "y");
  const auto loss = [&] { return test::weighted_sum(upstream, exact(model, input).v); };
  double most = largest(floats_of(dx));
  for (const auto& row : unit.rows) most = std::max(most, largest(part(gradients, row)));
  expect_gradient(input.v, floats_of(dx), most, loss, "x", 2 * samples);
  for (const auto& row : unit.rows)
    expect_gradient(weights.at(row.name), part(gradients, row), most, loss, row.name, samples);
}

TEST(BlockGradients, Recurrent) {
  const GriffinConfig config = odd_config("R", 1, 3);
  for (const Rows& rows : all_rows()) {
    check_block<RecurrentBlock>(config, rows, [](const DoubleGriffin& model, const Matrix& x) {
      return model.recurrent_block(x, "block");
    });
  }
}

TEST(BlockGradients, Mlp) {
  const GriffinConfig config = odd_config("R", 1, 3);
  for (const Rows& rows : all_rows()) {
    check_block<MlpBlock>(config, rows, [](const DoubleGriffin& model, const Matrix& x) {
      return model.mlp_block(x, "block");
    });
  }
}

// A window of one token, of some, of more than the sequence, and of everything, as the reach of
// global attention; one head of 20, and 5 of 4.
TEST(BlockGradients, AttentionOfEveryReach) {
  for (const std::int64_t heads : {1, 5}) {
    for (const std::int64_t window :
         {std::int64_t{1}, std::int64_t{3}, std::int64_t{1000}, GriffinConfig::kUnlimited}) {
      SCOPED_TRACE("heads " + std::to_string(heads) + ", window " + std::to_string(window));
      const GriffinConfig config = odd_config("A", heads, window);
      for (const Rows& rows : all_rows()) {
        check_block<AttentionBlock>(config, rows, [&](const DoubleGriffin& model, const Matrix& x) {
          return model.attention_block(x, "block", window);
        });
      }
    }
  }
}

// More queries than one tile of attention takes (128 of one head), documents across its border.
TEST(BlockGradients, LongerThanATile) {
  const Rows rows{1, 150, positions_of({70, 1, 79})};
  for (const std::int64_t window : {5, 1000}) {
    check_block<AttentionBlock>(
        odd_config("A", 1, window), rows,
        [&](const DoubleGriffin& model, const Matrix& x) {
          return model.attention_block(x, "block", window);
        },
        5);
  }
  check_block<RecurrentBlock>(
      odd_config("R", 1, 1), rows,
      [](const DoubleGriffin& model, const Matrix& x) { return model.recurrent_block(x, "block"); },
      5);
}

TEST(BlockGradients, Linear) {
  const GriffinConfig config = odd_config("R", 1, 1);
  for (const bool bias : {false, true}) {
    for (const std::int64_t n : {1, 7}) {
      for (const auto& [in, out] : {std::pair{20, 21}, std::pair{13, 1}, std::pair{1, 5}}) {
        SCOPED_TRACE(std::to_string(in) + " to " + std::to_string(out));
        parallel::Unit unit{.name = "unit"};
        const Linear linear("linear", in, out, 1, bias, unit);
        Parameters parameters({unit}, DType::kFloat32);
        Weights weights = fill(parameters);
        std::vector<float> gradients = unwritten(unit.size);
        const UnitView view{parameters, 0, gradients.data()};
        const Array x = Array::normal(DType::kFloat32, n, in, 21),
                    dy = Array::normal(DType::kFloat32, n, out, 22),
                    before = Array::normal(DType::kFloat32, n, in, 23);
        Array y(DType::kFloat32, n, out), dx(DType::kFloat32, n, in), added = before;
        linear.forward(x, view, y);
        linear.backward(dy, x, view, added, true);
        linear.backward(dy, x, view, dx, false);

        const Rows rows{1, n, positions_of({n})};
        const DoubleGriffin model(config, weights, rows);
        Matrix input = matrix_of(x);
        const auto exact = [&] { return model.linear(input, "linear", out, bias).v; };
        test::expect_near(y, exact(), kValueTolerance, "y");
        const Values upstream = dy.values();
        const auto loss = [&] { return test::weighted_sum(upstream, exact()); };
        double most = largest(floats_of(dx));
        for (const auto& row : unit.rows) most = std::max(most, largest(part(gradients, row)));
        expect_gradient(input.v, floats_of(dx), most, loss, "x");
        for (const auto& row : unit.rows)
          expect_gradient(weights.at(row.name), part(gradients, row), most, loss, row.name);
        Values sum = before.values();
        for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += dx.values()[i];
        test::expect_near(added, sum, kValueTolerance, "dx added");
      }
    }
  }
}

struct Sink : GradientSink {
  explicit Sink(const std::vector<parallel::Unit>& units) {
    for (const auto& unit : units) buffers.push_back(unwritten(unit.size));
  }
  float* gradient(std::size_t unit) override { return buffers[unit].data(); }
  void finished(std::size_t unit) override { order.push_back(unit); }
  std::vector<std::vector<float>> buffers;
  std::vector<std::size_t> order;
};

// Which places count in the loss.
enum class Mask { kAll, kSome, kTail, kNone };

struct ModelCase {
  std::string layers;
  Rows rows;
  Mask mask = Mask::kAll;
  std::int64_t heads = 1, window = 3;
  float gradient_scale = 1;
  double soft_cap = 0;
  bool scale_embedding = false;
  std::size_t samples = 6;
};

// A whole model on one batch, run with gradients.
struct ModelRun {
  explicit ModelRun(const ModelCase& c)
      : config(config_of(c)),
        griffin(config),
        parameters(griffin.units(), DType::kFloat32),
        weights(fill(parameters)),
        sink(griffin.units()) {
    const auto n = static_cast<std::size_t>(c.rows.tokens());
    const base::Philox random(3, "batch");
    for (std::size_t t = 0; t < n; ++t) {
      const auto id = [&](std::size_t index) {
        return static_cast<std::int32_t>(random.uniform(index) * 11);
      };
      tokens.push_back(id(2 * t));
      targets.push_back(id(2 * t + 1));
      const bool counts = c.mask == Mask::kAll || (c.mask == Mask::kSome && t % 3 != 1) ||
                          (c.mask == Mask::kTail && 2 * t < n);
      mask.push_back(counts ? 1.0f : 0.0f);
    }
    const BatchView batch{c.rows.sequences, c.rows.length,           tokens.data(),
                          targets.data(),   c.rows.positions.data(), mask.data()};
    without_gradients = griffin.loss(parameters, batch, workspace, &nll);
    loss = griffin.loss(parameters, batch, workspace, c.gradient_scale, sink);
  }

  static GriffinConfig config_of(const ModelCase& c) {
    GriffinConfig config = odd_config(c.layers, c.heads, c.window);
    config.soft_cap = c.soft_cap;
    config.scale_embedding = c.scale_embedding;
    return config;
  }

  GriffinConfig config;
  Griffin griffin;
  Parameters parameters;
  Weights weights;
  Sink sink;
  Workspace workspace;
  std::vector<std::int32_t> tokens, targets;
  std::vector<float> mask, nll;
  double loss = 0, without_gradients = 0;
};

void check_model(const ModelCase& c) {
  SCOPED_TRACE(c.layers + ", " + text_of(c.rows));
  ModelRun run(c);
  const DoubleGriffin model(run.config, run.weights, c.rows);
  const Values exact = model.nll(run.tokens, run.targets);
  for (std::size_t t = 0; t < exact.size(); ++t) {
    EXPECT_NEAR(run.nll[t], run.mask[t] == 0 ? 0 : exact[t], 1e-5) << t;
  }
  const Values mask(run.mask.begin(), run.mask.end());
  const auto loss = [&] {
    return c.gradient_scale * test::weighted_sum(mask, model.nll(run.tokens, run.targets));
  };
  EXPECT_EQ(run.loss, run.without_gradients);
  EXPECT_NEAR(c.gradient_scale * run.loss, loss(), 1e-5 * std::max(1.0, std::abs(loss())));
  double most = 0;
  const auto& units = run.griffin.units();
  for (std::size_t u = 0; u < units.size(); ++u) {
    for (const auto& row : units[u].rows)
      most = std::max(most, largest(part(run.sink.buffers[u], row)));
  }
  for (std::size_t u = 0; u < units.size(); ++u) {
    for (const auto& row : units[u].rows)
      expect_gradient(run.weights.at(row.name), part(run.sink.buffers[u], row), most, loss,
                      row.name, c.samples);
  }
}

TEST(ModelGradients, Griffin) {
  for (const Rows& rows : all_rows()) {
    check_model({.layers = "RAR", .rows = rows});
    check_model({.layers = "AR", .rows = rows, .mask = Mask::kSome, .heads = 5, .window = 1});
  }
}

TEST(ModelGradients, HawkAndLocalAttentionAlone) {
  const Rows rows{2, 8, positions_of({3, 1, 4, 1, 7})};
  check_model({.layers = "RR", .rows = rows});
  check_model({.layers = "AA", .rows = rows, .window = 2});
  check_model({.layers = "AA", .rows = rows, .heads = 5, .window = 1000});
}

TEST(ModelGradients, GlobalAttentionWhereLocalSeesEverythingToo) {
  for (const Rows& rows : all_rows()) check_model({.layers = "GRG", .rows = rows, .window = 1000});
}

// The window does not bind global attention; both kinds in one pass.
TEST(ModelGradients, GlobalAttention) {
  for (const Rows& rows : all_rows()) {
    check_model({.layers = "RAG", .rows = rows, .window = 2});
    check_model({.layers = "GG", .rows = rows, .heads = 5, .window = 1});
  }
}

TEST(ModelGradients, SoftCapAndEmbeddingScale) {
  const Rows rows{2, 8, positions_of({3, 1, 4, 1, 7})};
  check_model({.layers = "RA", .rows = rows, .soft_cap = 3});
  check_model({.layers = "RA", .rows = rows, .soft_cap = 30, .scale_embedding = true});
  check_model({.layers = "RA", .rows = rows, .scale_embedding = true});
}

TEST(ModelGradients, MasksAndGradientScale) {
  const Rows rows{2, 8, positions_of({3, 1, 4, 1, 7})};
  for (const Mask mask : {Mask::kAll, Mask::kSome, Mask::kTail}) {
    for (const float scale : {0.37f, 100.0f}) {
      check_model({.layers = "RA", .rows = rows, .mask = mask, .gradient_scale = scale});
    }
  }
}

// More tokens than the output layer takes at once (512), so its pieces are added up.
TEST(ModelGradients, LogitsInSeveralPieces) {
  const Rows rows{1, 700, positions_of({300, 1, 399})};
  check_model({.layers = "R", .rows = rows, .mask = Mask::kSome, .samples = 2});
}

TEST(ModelGradients, AllMaskedIsExactlyZero) {
  for (const Rows& rows : all_rows()) {
    for (const double soft_cap : {0.0, 30.0}) {
      SCOPED_TRACE(text_of(rows));
      ModelRun run({.layers = "RA", .rows = rows, .mask = Mask::kNone, .soft_cap = soft_cap});
      EXPECT_EQ(run.loss, 0);
      EXPECT_EQ(run.without_gradients, 0);
      for (const float v : run.nll) EXPECT_EQ(v, 0);
      const auto& units = run.griffin.units();
      EXPECT_EQ(run.sink.order.size(), units.size());
      for (std::size_t u = 0; u < units.size(); ++u) {
        for (const auto& row : units[u].rows) {
          for (const float v : part(run.sink.buffers[u], row)) ASSERT_EQ(v, 0) << row.name;
        }
      }
    }
  }
}

}  // namespace
}  // namespace eyrie::model
