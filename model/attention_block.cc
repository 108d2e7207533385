// The attention block: whole sequences, pieces after a state, and single tokens.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "model/layers.h"
#include "tensor/ops/attention.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/few_rows.h"

namespace eyrie::model {

using tensor::DType;
using tensor::Tensor;

AttentionBlock::AttentionBlock(const GriffinConfig& config, const Sizes& sizes,
                               const std::string& name, std::size_t layer, parallel::Unit& unit)
    : config_(config),
      sizes_(sizes),
      layer_(layer),
      proj_q_(name + "/proj_q", sizes.width, sizes.queries,
              std::sqrt(1.0 / static_cast<double>(config.width)), false, sizes, unit),
      proj_k_(name + "/proj_k", sizes.width, sizes.keys,
              std::sqrt(1.0 / static_cast<double>(config.width)), false, sizes, unit),
      proj_v_(name + "/proj_v", sizes.width, sizes.keys,
              std::sqrt(1.0 / static_cast<double>(config.width)), false, sizes, unit),
      proj_final_(name + "/proj_final", sizes.queries, sizes.width,
                  std::sqrt(2.0 / static_cast<double>(config.layers.size()) /
                            static_cast<double>(config.width)),
                  true, sizes, unit) {
  // Every tensor rank has the one key and value head, and the gradient that its own queries give.
  if (sizes.tensor_ranks > 1) {
    for (parallel::ParameterRow& row : unit.rows) {
      if (row.name.starts_with(name + "/proj_k") || row.name.starts_with(name + "/proj_v"))
        row.tensor_gradient = parallel::TensorGradient::kSum;
    }
  }
}

namespace {

tensor::AttentionShape shape_of(const Sizes& sizes, const Pass& pass, std::int64_t past) {
  return {pass.sequences, pass.length, past + pass.length, sizes.heads.own(), sizes.head_dim};
}

}  // namespace

const Sight& AttentionBlock::sight(const Pass& pass) const {
  return config_.layers[layer_] == 'G' ? pass.global : pass.local;
}

KeyPieces AttentionBlock::pieces(const Pass& pass) const {
  return {*pass.context, pass.sequences, pass.whole_length, config_.reach(layer_)};
}

void AttentionBlock::forward(const Tensor& x, const UnitView& view, Pass& pass, Saved& saved,
                             const Tensor& y) const {
  const std::int64_t dim = sizes_.head_dim;
  saved.q = pass.keep(sizes_.queries.own());
  saved.k = pass.keep(dim);
  saved.v = pass.keep(dim);
  saved.out = pass.keep(sizes_.queries.own());
  saved.log_sum = pass.keep_fp32(sizes_.heads.own());
  make_products({proj_q_.product(x, view, saved.q), proj_k_.product(x, view, saved.k),
                 proj_v_.product(x, view, saved.v)},
                view.decode);
  tensor::rope(saved.q, pass.cosines, pass.sines, false, saved.q);
  tensor::rope(saved.k, pass.cosines, pass.sines, false, saved.k);
  if (pass.context != nullptr && sight(pass).past > 0) {
    const std::int64_t rows = pass.sequences * (sight(pass).past + pass.length);
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

// Any number of tokens a sequence: with a state, its last keys and values come before the new ones,
// at the end of `past` rows a sequence (those before them no query sees).
void AttentionBlock::attend(Pass& pass, const Saved& saved) const {
  const std::int64_t past = sight(pass).past, keys = past + pass.length, dim = sizes_.head_dim;
  Tensor all_keys = saved.k, all_values = saved.v;
  if (past > 0 && pass.state != nullptr) {
    all_keys = pass.saved.zeros(pass.compute, pass.sequences * keys, dim);
    all_values = pass.saved.zeros(pass.compute, pass.sequences * keys, dim);
  }
  for (std::int64_t s = 0; pass.state != nullptr && s < pass.sequences; ++s) {
    State& state = *pass.state;
    const auto fresh = [&](const Tensor& t, std::int64_t count) {
      return t.row_range(s * pass.length, count);
    };
    if (past > 0) {
      const std::int64_t kept = std::min(state.position(s), std::min(past, config_.reach(layer_)));
      state.last(layer_, s, all_keys.row_range(s * keys + past - kept, kept),
                 all_values.row_range(s * keys + past - kept, kept));
      tensor::copy(fresh(saved.k, pass.length), all_keys.row_range(s * keys + past, pass.length));
      tensor::copy(fresh(saved.v, pass.length), all_values.row_range(s * keys + past, pass.length));
    }
    state.put(layer_, s, fresh(saved.k, pass.length_of(s)), fresh(saved.v, pass.length_of(s)));
  }
  tensor::attention(saved.q, all_keys, all_values, sight(pass).first_key,
                    shape_of(sizes_, pass, past), saved.out, saved.log_sum, pass.scratch);
}

// One token a sequence: it joins the ring, and its query sees what is there.
void AttentionBlock::attend_one(Pass& pass, const Saved& saved) const {
  std::vector<tensor::KeyRing> rings;
  for (std::int64_t s = 0; s < pass.sequences; ++s) {
    pass.state->put(layer_, s, saved.k.row_range(s, 1), saved.v.row_range(s, 1));
    const std::int64_t place = pass.positions.as<std::int32_t>()[s];
    rings.push_back(pass.state->ring(layer_, s, std::min(place, config_.reach(layer_))));
  }
  tensor::attention_step(saved.q, rings, sizes_.heads.own(), saved.out);
}

void AttentionBlock::backward(const Tensor& dy, const Tensor& x, const UnitView& view, Pass& pass,
                              const Saved& saved, const Tensor& dx) const {
  tensor::ArenaScope scope(pass.scratch);
  const std::int64_t n = pass.tokens(), width = sizes_.queries.own(), dim = sizes_.head_dim;
  const std::int64_t past = sight(pass).past, keys = pass.sequences * (past + pass.length);
  const auto compute = [&](std::int64_t columns) {
    return pass.scratch.allocate(pass.compute, n, columns);
  };
  const auto fp32 = [&](std::int64_t rows, std::int64_t columns) {
    return pass.scratch.allocate(DType::kFloat32, rows, columns);
  };
  const Tensor dout = compute(width), dq = fp32(n, width);
  Tensor dk = fp32(keys, dim), dv = fp32(keys, dim);
  proj_final_.backward(dy, saved.out, view, dout, false);
  tensor::attention_backward(dout, saved.q, saved.k, saved.v, saved.out, saved.log_sum,
                             sight(pass).first_key, shape_of(sizes_, pass, past), dq, dk, dv,
                             pass.scratch);
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
