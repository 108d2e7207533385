// The attention block: whole sequences, chunks that continue a state, and single tokens.
#include <algorithm>
#include <cmath>
#include <vector>

#include "model/layers.h"
#include "tensor/ops/attention.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/few_rows.h"

namespace eyrie::model {

using tensor::DType;
using tensor::Tensor;

AttentionBlock::AttentionBlock(const GriffinConfig& config, const LocalDims& dims,
                               const std::string& name, std::size_t layer, parallel::Unit& unit)
    : config_(config),
      dims_(dims),
      layer_(layer),
      proj_q_(name + "/proj_q", dims.width, dims.queries,
              std::sqrt(1.0 / static_cast<double>(config.width)), false, dims, unit),
      proj_k_(name + "/proj_k", dims.width, dims.keys,
              std::sqrt(1.0 / static_cast<double>(config.width)), false, dims, unit),
      proj_v_(name + "/proj_v", dims.width, dims.keys,
              std::sqrt(1.0 / static_cast<double>(config.width)), false, dims, unit),
      proj_final_(name + "/proj_final", dims.queries, dims.width,
                  std::sqrt(2.0 / static_cast<double>(config.layers.size()) /
                            static_cast<double>(config.width)),
                  true, dims, unit) {
  // Every tensor rank has the one key/value head, but its gradient is from its own queries only:
  // the gradients are summed.
  if (dims.tensor_ranks > 1) {
    for (parallel::ParameterInfo& info : unit.parameters) {
      if (info.name.starts_with(name + "/proj_k") || info.name.starts_with(name + "/proj_v"))
        info.tensor_gradient = parallel::TensorGradient::kSum;
    }
  }
}

namespace {

tensor::AttentionShape shape_of(const LocalDims& dims, const Pass& pass, std::int64_t past,
                                std::int64_t reach) {
  return {pass.sequences,     pass.length,   past + pass.length,
          dims.heads.local(), dims.head_dim, reach};
}

}  // namespace

const AttentionBounds& AttentionBlock::bounds(const Pass& pass) const {
  return config_.layers[layer_] == 'G' ? pass.global : pass.local;
}

KeyPieces AttentionBlock::pieces(const Pass& pass) const {
  return {*pass.context, pass.sequences, pass.whole_length, config_.reach(layer_)};
}

void AttentionBlock::forward(const Tensor& x, const UnitView& view, Pass& pass, Saved& saved,
                             const Tensor& y) const {
  const std::int64_t dim = dims_.head_dim;
  saved.q = pass.keep(dims_.queries.local());
  saved.k = pass.keep(dim);
  saved.v = pass.keep(dim);
  saved.out = pass.keep(dims_.queries.local());
  saved.log_sum = pass.keep_fp32(dims_.heads.local());
  make_products({proj_q_.product(x, view, saved.q), proj_k_.product(x, view, saved.k),
                 proj_v_.product(x, view, saved.v)},
                view.decode);
  tensor::rope(saved.q, pass.cosines, pass.sines, false, saved.q);
  tensor::rope(saved.k, pass.cosines, pass.sines, false, saved.k);
  if (pass.context != nullptr && bounds(pass).past > 0) {
    const std::int64_t rows = pass.sequences * (bounds(pass).past + pass.length);
    for (Tensor* own : {&saved.k, &saved.v}) {
      const Tensor all = pass.saved.allocate(pass.compute, rows, dim);
      fetch_past(pieces(pass), *own, all, pass.scratch);
      *own = all;
    }
  } else if (pass.context != nullptr) {
    fetch_past(pieces(pass), saved.k, saved.k, pass.scratch);
    fetch_past(pieces(pass), saved.v, saved.v, pass.scratch);
  }
  if (pass.decode) {
    attend_one(pass, saved);
  } else {
    attend(pass, saved);
  }
  make_products({proj_final_.product(saved.out, view, y)}, view.decode);
}

// Any number of tokens per sequence. With a state, its last keys and values come before the new
// ones, at the end of `past` rows per sequence (no query sees the rows before them).
void AttentionBlock::attend(Pass& pass, const Saved& saved) const {
  const std::int64_t past = bounds(pass).past, reach = config_.reach(layer_);
  Tensor all_keys = saved.k, all_values = saved.v;
  if (past > 0 && pass.state != nullptr) {
    const std::int64_t rows = pass.sequences * past + pass.tokens();
    all_keys = pass.saved.zeros(pass.compute, rows, dims_.head_dim);
    all_values = pass.saved.zeros(pass.compute, rows, dims_.head_dim);
  }
  for (std::int64_t s = 0; pass.state != nullptr && s < pass.sequences; ++s) {
    State& state = *pass.state;
    const std::int64_t row = pass.row_of(s), count = pass.length_of(s);
    const Tensor new_keys = saved.k.row_range(row, count),
                 new_values = saved.v.row_range(row, count);
    if (past > 0) {
      const std::int64_t kept = std::min(state.position(s), std::min(past, reach)),
                         own = (s + 1) * past + row;
      state.last(layer_, s, all_keys.row_range(own - kept, kept),
                 all_values.row_range(own - kept, kept));
      tensor::copy(new_keys, all_keys.row_range(own, count));
      tensor::copy(new_values, all_values.row_range(own, count));
    }
    state.put(layer_, s, new_keys, new_values);
  }
  pass.by_length([&](std::int64_t s, std::int64_t count) {
    const auto keys_of = [&](const Tensor& all) {
      return all.row_range(s * past + pass.row_of(s),
                           count * past + pass.row_of(s + count) - pass.row_of(s));
    };
    tensor::attention(pass.rows(saved.q, s, count), keys_of(all_keys), keys_of(all_values),
                      pass.places(bounds(pass).first_key, s, count),
                      {count, pass.length_of(s), past + pass.length_of(s), dims_.heads.local(),
                       dims_.head_dim, reach},
                      pass.rows(saved.out, s, count), pass.rows(saved.log_sum, s, count),
                      pass.scratch);
  });
}

// One token per sequence: its key joins the ring, and its query sees the keys there.
void AttentionBlock::attend_one(Pass& pass, const Saved& saved) const {
  std::vector<tensor::KeyRing> rings;
  for (std::int64_t s = 0; s < pass.sequences; ++s) {
    pass.state->put(layer_, s, saved.k.row_range(s, 1), saved.v.row_range(s, 1));
    const std::int64_t before = std::min(pass.state->position(s), config_.reach(layer_));
    rings.push_back(pass.state->ring(layer_, s, before));
  }
  tensor::attention_step(saved.q, rings, dims_.heads.local(), saved.out);
}

void AttentionBlock::backward(const Tensor& dy, const Tensor& x, const UnitView& view, Pass& pass,
                              const Saved& saved, const Tensor& dx) const {
  tensor::ArenaScope scope(pass.scratch);
  const std::int64_t n = pass.tokens(), width = dims_.queries.local(), dim = dims_.head_dim;
  const std::int64_t past = bounds(pass).past, keys = pass.sequences * (past + pass.length);
  const auto compute = [&](std::int64_t columns) {
    return pass.scratch.allocate(pass.compute, n, columns);
  };
  const auto fp32 = [&](std::int64_t rows, std::int64_t columns) {
    return pass.scratch.allocate(DType::kFloat32, rows, columns);
  };
  const Tensor dout = compute(width), dq = fp32(n, width);
  Tensor dk = fp32(keys, dim), dv = fp32(keys, dim);
  proj_final_.backward(dy, saved.out, view, dout, false);
  tensor::attention_backward(
      dout, saved.q, saved.k, saved.v, saved.out, saved.log_sum, bounds(pass).first_key,
      shape_of(dims_, pass, past, config_.reach(layer_)), dq, dk, dv, pass.scratch);
  if (pass.context != nullptr) {
    for (Tensor* all : {&dk, &dv}) {
      const Tensor own = past > 0 ? fp32(n, dim) : *all;
      return_past(pieces(pass), *all, own, pass.scratch);
      *all = own;
    }
  }
  const Tensor dq_product = compute(width), dk_product = compute(dim), dv_product = compute(dim);
  tensor::rope(dq, pass.cosines, pass.sines, true, dq_product);
  tensor::rope(dk, pass.cosines, pass.sines, true, dk_product);
  tensor::convert(dv, dv_product);
  proj_q_.backward(dq_product, x, view, dx, false);
  proj_k_.backward(dk_product, x, view, dx, true);
  proj_v_.backward(dv_product, x, view, dx, true);
}

}  // namespace eyrie::model
