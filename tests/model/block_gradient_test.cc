// Values and gradients of every layer against finite differences of a forward pass in double: odd
// dims, the shortest sequences, packed documents.
#include <gtest/gtest.h>

#include <functional>

#include "model/layers.h"
#include "model/training_parameters.h"
#include "support/odd_model.h"
#include "tensor/ops/attention.h"

namespace eyrie::model {
namespace {

using tensor::DType;
using test::all_rows;
using test::Array;
using test::DoubleGriffin;
using test::expect_gradient;
using test::fill;
using test::largest_of;
using test::Matrix;
using test::odd_config;
using test::part;
using test::positions_of;
using test::Rows;
using test::text_of;
using test::unwritten;
using test::Values;
using test::Weights;

constexpr double kValueTolerance = 5e-6;  // of the largest

Matrix matrix_of(const Array& array) {
  Matrix matrix(array->rows(), array->columns());
  matrix.v = array.values();
  return matrix;
}

std::vector<float> floats_of(const Array& array) {
  const Values values = array.values();
  return {values.begin(), values.end()};
}

// One block over some rows: y and, for Σ dy · y, dx and every parameter's gradient.
template <class Block>
void check_block(const GriffinConfig& config, const Rows& rows,
                 const std::function<Matrix(const DoubleGriffin&, const Matrix&)>& exact,
                 std::size_t samples = 16) {
  SCOPED_TRACE(text_of(rows));
  parallel::Unit unit{.name = "unit"};
  const LocalDims dims(config, 0, 1);
  const auto make = [&] {
    if constexpr (std::is_same_v<Block, MlpBlock>) {
      return Block(config, dims, "block", unit);
    } else {
      return Block(config, dims, "block", 0, unit);
    }
  };
  const Block block = make();
  TrainingParameters parameters({unit}, DType::kFloat32);
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
            .local = {first, 0},
            .global = {},
            .cosines = cosines,
            .sines = sines,
            .saved = saved_arena,
            .scratch = scratch};
  std::vector<float> gradients = unwritten(unit.size);
  const UnitView view{parameters, 0, tensor::host_row(gradients)};
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
  double most = largest_of(floats_of(dx));
  for (const auto& row : unit.parameters) most = std::max(most, largest_of(part(gradients, row)));
  expect_gradient(input.v, floats_of(dx), most, loss, "x", 2 * samples);
  for (const auto& row : unit.parameters)
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
        const Linear linear("linear", ShardedDim(in), ShardedDim(out), 1, bias,
                            LocalDims(config, 0, 1), unit);
        TrainingParameters parameters({unit}, DType::kFloat32);
        Weights weights = fill(parameters);
        std::vector<float> gradients = unwritten(unit.size);
        const UnitView view{parameters, 0, tensor::host_row(gradients)};
        const Array x = Array::normal(DType::kFloat32, n, in, 21),
                    dy = Array::normal(DType::kFloat32, n, out, 22),
                    before = Array::normal(DType::kFloat32, n, in, 23);
        Array y(DType::kFloat32, n, out), dx(DType::kFloat32, n, in), added = before;
        make_products({linear.product(x, view, y)}, false);
        linear.backward(dy, x, view, added, true);
        linear.backward(dy, x, view, dx, false);

        const Rows rows{1, n, positions_of({n})};
        const DoubleGriffin model(config, weights, rows);
        Matrix input = matrix_of(x);
        const auto exact = [&] { return model.linear(input, "linear", out, bias).v; };
        test::expect_near(y, exact(), kValueTolerance, "y");
        const Values upstream = dy.values();
        const auto loss = [&] { return test::weighted_sum(upstream, exact()); };
        double most = largest_of(floats_of(dx));
        for (const auto& row : unit.parameters)
          most = std::max(most, largest_of(part(gradients, row)));
        expect_gradient(input.v, floats_of(dx), most, loss, "x");
        for (const auto& row : unit.parameters)
          expect_gradient(weights.at(row.name), part(gradients, row), most, loss, row.name);
        Values sum = before.values();
        for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += dx.values()[i];
        test::expect_near(added, sum, kValueTolerance, "dx added");
      }
    }
  }
}

}  // namespace
}  // namespace eyrie::model
