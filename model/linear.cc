// Linear layers, and the products of several layers together.
#include <vector>

#include "model/initialization.h"
#include "model/layers.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/few_rows.h"
#include "tensor/ops/int8.h"
#include "tensor/ops/matmul.h"

namespace eyrie::model {

using tensor::Tensor;

Linear::Linear(const std::string& name, const ShardedDim& in, const ShardedDim& out,
               double deviation, bool bias, const LocalDims& dims, parallel::Unit& unit)
    : kernel_(unit.add({.name = name + "/kernel",
                        .shape = {in.global, out.global},
                        .start = {in.part.begin, out.part.begin},
                        .extent = {in.local(), out.local()},
                        .initial_value = normal_value,
                        .deviation = deviation,
                        .weight_decay = true,
                        .product = true,
                        .linear = true})),
      adds_bias_(bias && (!in.is_sharded() || dims.first())) {
  if (bias)
    bias_ = unit.add({.name = name + "/bias",
                      .shape = {out.global},
                      .start = {out.part.begin},
                      .extent = {out.local()}});
}

Product Linear::product(const Tensor& x, const UnitView& view, const Tensor& y) const {
  return {x, view.matrix(kernel_), adds_bias_ ? view.weight(bias_) : Tensor(), y};
}

void make_products(std::initializer_list<Product> products, bool decode) {
  make_products(std::span(products.begin(), products.size()), decode);
}

void make_products(std::span<const Product> products, bool decode) {
  if (!decode) {
    for (const auto& [x, weight, bias, out] : products) {
      if (weight.scales) {
        tensor::matmul_int8(x, weight.tensor, weight.scales, weight.block, out, bias);
      } else {
        tensor::matmul(x, weight.tensor, out, {.transpose_b = weight.transposed}, bias);
      }
    }
    return;
  }
  std::vector<tensor::FewRowsProduct> together;
  for (const Product& p : products)
    together.push_back({p.x, p.weight.tensor, p.weight.transposed, p.bias, p.out, p.weight.scales,
                        p.weight.block});
  tensor::few_rows(together);
}

void Linear::backward(const Tensor& dy, const Tensor& x, const UnitView& view, const Tensor& dx,
                      bool accumulate) const {
  weight_gradients(dy, x, view);
  input_gradient(dy, view, dx, accumulate);
}

void Linear::input_gradient(const Tensor& dy, const UnitView& view, const Tensor& dx,
                            bool accumulate) const {
  tensor::matmul(dy, view.weight(kernel_), dx, {.transpose_b = true, .accumulate = accumulate});
}

void Linear::weight_gradients(const Tensor& dy, const Tensor& x, const UnitView& view) const {
  if (bias_ >= 0) tensor::column_sum(dy, view.gradient(bias_), true);
  tensor::matmul(x, dy, view.gradient(kernel_), {.transpose_a = true});
}

}  // namespace eyrie::model
