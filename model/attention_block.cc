// The attention block, with the keys and values of a state before the new ones.
#include <cmath>
#include <cstring>

#include "model/layers.h"
#include "tensor/ops/attention.h"
#include "tensor/ops/elementwise.h"

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

// (sequences, kept + length) rows from the state's (sequences, kept) and the new (sequences,
// length).
Tensor with_past(const tensor::Buffer& past, std::int64_t kept, const Tensor& fresh,
                 const Pass& pass) {
  const std::int64_t dim = fresh.columns(), keys = kept + pass.length;
  const Tensor all = pass.saved.allocate(pass.compute, pass.sequences * keys, dim);
  const auto row_bytes = static_cast<std::size_t>(dim * size_of(pass.compute));
  for (std::int64_t s = 0; s < pass.sequences; ++s) {
    auto* to = static_cast<std::byte*>(all.row_range(s * keys, keys).data());
    std::memcpy(to, past.data() + static_cast<std::size_t>(s * kept) * row_bytes,
                static_cast<std::size_t>(kept) * row_bytes);
    std::memcpy(to + static_cast<std::size_t>(kept) * row_bytes,
                fresh.row_range(s * pass.length, pass.length).data(),
                static_cast<std::size_t>(pass.length) * row_bytes);
  }
  return all;
}

// The last `kept` of each sequence's keys (or values) stay.
tensor::Buffer last_rows(const Tensor& all, std::int64_t sequences, std::int64_t keys,
                         std::int64_t kept) {
  const auto row_bytes = static_cast<std::size_t>(all.columns() * size_of(all.dtype()));
  tensor::Buffer buffer(static_cast<std::size_t>(sequences * kept) * row_bytes);
  for (std::int64_t s = 0; s < sequences; ++s) {
    std::memcpy(buffer.data() + static_cast<std::size_t>(s * kept) * row_bytes,
                all.row_range(s * keys + keys - kept, kept).data(),
                static_cast<std::size_t>(kept) * row_bytes);
  }
  return buffer;
}

}  // namespace

void AttentionBlock::forward(const Tensor& x, const UnitView& view, Pass& pass, Saved& saved,
                             const Tensor& y) const {
  saved.q = pass.keep(config_.width);
  saved.k = pass.keep(config_.head_dim());
  saved.v = pass.keep(config_.head_dim());
  saved.out = pass.keep(config_.width);
  saved.log_sum = pass.keep_fp32(config_.heads);
  proj_q_.forward(x, view, saved.q);
  proj_k_.forward(x, view, saved.k);
  proj_v_.forward(x, view, saved.v);
  tensor::rope(saved.q, pass.cosines, pass.sines, false, saved.q);
  tensor::rope(saved.k, pass.cosines, pass.sines, false, saved.k);
  Tensor keys = saved.k, values = saved.v;
  std::int64_t past = 0;
  if (pass.state != nullptr) {
    State::Layer& layer = pass.state->layers_[layer_];
    past = pass.state->kept();
    if (past > 0) {
      keys = with_past(layer.keys, past, saved.k, pass);
      values = with_past(layer.values, past, saved.v, pass);
    }
    const std::int64_t all = past + pass.length, kept = std::min(all, config_.window);
    layer.keys = last_rows(keys, pass.sequences, all, kept);
    layer.values = last_rows(values, pass.sequences, all, kept);
  }
  tensor::attention(saved.q, keys, values, pass.first_key, shape_of(config_, pass, past), saved.out,
                    saved.log_sum, pass.scratch);
  proj_final_.forward(saved.out, view, y);
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
                             pass.first_key, shape_of(config_, pass, 0), dq, dk, dv, pass.scratch);
  const Tensor dq_product = compute(width), dk_product = compute(dim), dv_product = compute(dim);
  tensor::rope(dq, pass.cosines, pass.sines, true, dq_product);
  tensor::rope(dk, pass.cosines, pass.sines, true, dk_product);
  tensor::convert(dv, dv_product);
  proj_q_.backward(dq_product, x, view, dx, false);
  proj_k_.backward(dk_product, x, view, dx, true);
  proj_v_.backward(dv_product, x, view, dx, true);
}

}  // namespace eyrie::model
