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

AttentionBlock::AttentionBlock(const GriffinConfig& config, const std::string& name,
                               std::size_t layer, parallel::Unit& unit)
    : config_(config),
      layer_(layer),
      proj_q_(name + "/proj_q", config.width, config.width,
              std::sqrt(1.0 / static_cast<double>(config.width)), false, unit),
      proj_k_(name + "/proj_k", config.width, config.head_dim(),
              std::sqrt(1.0 / static_cast<double>(config.width)), false, unit),
      proj_v_(name + "/proj_v", config.width, config.head_dim(),
              std::sqrt(1.0 / static_cast<double>(config.width)), false, unit),
      proj_final_(name + "/proj_final", config.width, config.width,
                  std::sqrt(2.0 / static_cast<double>(config.layers.size()) /
                            static_cast<double>(config.width)),
                  true, unit) {}

namespace {

tensor::AttentionShape shape_of(const GriffinConfig& config, const Pass& pass, std::int64_t past) {
  return {pass.sequences, pass.length, past + pass.length, config.heads, config.head_dim()};
}

}  // namespace

const Sight& AttentionBlock::sight(const Pass& pass) const {
  return config_.layers[layer_] == 'G' ? pass.global : pass.local;
}

void AttentionBlock::forward(const Tensor& x, const UnitView& view, Pass& pass, Saved& saved,
                             const Tensor& y) const {
  saved.q = pass.keep(config_.width);
  saved.k = pass.keep(config_.head_dim());
  saved.v = pass.keep(config_.head_dim());
  saved.out = pass.keep(config_.width);
  saved.log_sum = pass.keep_fp32(config_.heads);
  make_products({proj_q_.product(x, view, saved.q), proj_k_.product(x, view, saved.k),
                 proj_v_.product(x, view, saved.v)},
                view.decode);
  tensor::rope(saved.q, pass.cosines, pass.sines, false, saved.q);
  tensor::rope(saved.k, pass.cosines, pass.sines, false, saved.k);
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
  const std::int64_t past = sight(pass).past, keys = past + pass.length, dim = config_.head_dim();
  Tensor all_keys = saved.k, all_values = saved.v;
  if (past > 0) {
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
                    shape_of(config_, pass, past), saved.out, saved.log_sum, pass.scratch);
}

// One token a sequence: it joins the ring, and its query sees what is there.
void AttentionBlock::attend_one(Pass& pass, const Saved& saved) const {
  std::vector<tensor::KeyRing> rings;
  for (std::int64_t s = 0; s < pass.sequences; ++s) {
    pass.state->put(layer_, s, saved.k.row_range(s, 1), saved.v.row_range(s, 1));
    const std::int64_t place = pass.positions.as<std::int32_t>()[s];
    rings.push_back(pass.state->ring(layer_, s, std::min(place, config_.reach(layer_))));
  }
  tensor::attention_step(saved.q, rings, config_.heads, saved.out);
}

void AttentionBlock::backward(const Tensor& dy, const Tensor& x, const UnitView& view, Pass& pass,
                              const Saved& saved, const Tensor& dx) const {
  tensor::ArenaScope scope(pass.scratch);
  const std::int64_t n = pass.tokens(), width = config_.width, dim = config_.head_dim();
  const auto compute = [&](std::int64_t columns) {
    return pass.scratch.allocate(pass.compute, n, columns);
  };
  const auto fp32 = [&](std::int64_t columns) {
    return pass.scratch.allocate(DType::kFloat32, n, columns);
  };
  const Tensor dout = compute(width), dq = fp32(width), dk = fp32(dim), dv = fp32(dim);
  proj_final_.backward(dy, saved.out, view, dout, false);
  tensor::attention_backward(dout, saved.q, saved.k, saved.v, saved.out, saved.log_sum,
                             sight(pass).first_key, shape_of(config_, pass, 0), dq, dk, dv,
                             pass.scratch);
  const Tensor dq_product = compute(width), dk_product = compute(dim), dv_product = compute(dim);
  tensor::rope(dq, pass.cosines, pass.sines, true, dq_product);
  tensor::rope(dk, pass.cosines, pass.sines, true, dk_product);
  tensor::convert(dv, dv_product);
  proj_q_.backward(dq_product, x, view, dx, false);
  proj_k_.backward(dk_product, x, view, dx, true);
  proj_v_.backward(dv_product, x, view, dx, true);
}

}  // namespace eyrie::model
