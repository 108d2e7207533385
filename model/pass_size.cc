// The walk through a pass from the embedding to the loss and back.
#include "model/pass_size.h"

#include <algorithm>
#include <string>

#include "model/context.h"
#include "model/griffin.h"
#include "model/pass_walk.h"

namespace eyrie::model {
namespace {

constexpr std::int64_t kFloat = 4, kInt = 4;

}  // namespace

// A norm's output and 1/rms, and with `sums` the sum of the residual stream that it reads.
void PassWalk::norm(bool sums) {
  saved_.take(rows_ * config_.width * c_);
  saved_.take(rows_ * kFloat);
  if (sums) saved_.take(rows_ * config_.width * kFloat);
}

// `sums_first`: the first norm reads a sum; `keeps`: sums have memory of their own.
void PassWalk::forward_block(std::size_t layer, bool sums_first, bool keeps) {
  const auto through = [&](const auto& forward) {
    const tensor::ArenaScope scope(scratch_);
    block_output();
    to_block(c_);
    forward();
    from_block(c_);
  };
  norm(sums_first && keeps);
  through([&] { config_.is_attention(layer) ? attention_forward(layer) : recurrent_forward(); });
  norm(keeps);
  through([&] {
    for (int i = 0; i < 3; ++i) saved_.take(n_ * dims_.mlp.local() * c_);
  });
}

void PassWalk::forward() {
  const std::int64_t stream = rows_ * config_.width * kFloat;
  const bool again = shape_.training && shape_.recompute, keeps = shape_.training && !again;
  for (int i = 0; i < (keeps ? 2 : 3); ++i) saved_.take(stream);
  {
    const tensor::ArenaScope scope(scratch_);
    block_output();
    from_block(kFloat);
  }
  before_.clear();
  for (std::size_t layer = 0; layer < config_.layers.size(); ++layer) {
    before_.push_back(saved_.mark());
    if (again) {
      saved_.take(stream);  // its input
      const tensor::ArenaScope scope(saved_);
      saved_.take(stream);
      forward_block(layer, false, false);
      continue;
    }
    forward_block(layer, layer > 0, keeps);
    if (!shape_.training) saved_.release(before_.back());
  }
  norm(keeps);
}

void PassWalk::head() {
  const tensor::ArenaScope scope(scratch_);
  const std::int64_t rows = std::min(n_, logit_rows(config_.vocabulary)),
                     vocabulary = dims_.vocabulary.local();
  scratch_.take(n_ * kFloat);
  scratch_.take(rows * vocabulary * kFloat);
  if (shape_.training && c_ != kFloat) scratch_.take(rows * vocabulary * c_);
  if (!split_) return;
  // Chunks of the logits; all alike, except the last one.
  const std::int64_t whole = n_ / rows, rest = n_ % rows;
  const auto sum = [&](std::int64_t of, std::int64_t times) {
    if (of == 0) return;
    const tensor::ArenaScope sums(scratch_);
    const std::int64_t bytes = of * 3 * kFloat;
    scratch_.take(bytes);
    scratch_.take(bytes * shape_.tensor_ranks);
    size_.tensor_sent += times * bytes * (shape_.tensor_ranks - 1);
    size_.tensor_exchanges += times;
  };
  sum(rows, whole);
  sum(rest, 1);
}

void PassWalk::backward() {
  const std::int64_t stream = rows_ * config_.width;
  scratch_.take(stream * kFloat);
  {
    const tensor::ArenaScope scope(scratch_);
    block_output();
    to_block(c_);
    head();
    from_block(c_);
  }
  size_.logits = scratch_.phase();
  scratch_.take(stream * kFloat);
  if (c_ != kFloat) scratch_.take(stream * c_);
  const auto back_through = [&](const auto& layer) {
    const tensor::ArenaScope scope(scratch_);
    block_output();
    to_block(c_);
    to_block(c_);
    layer();
    from_block(c_);
  };
  for (std::size_t layer = config_.layers.size(); layer-- > 0;) {
    if (shape_.recompute) {
      saved_.take(stream * kFloat);
      forward_block(layer, false, true);
    }
    back_through([&] {
      const tensor::ArenaScope scope(scratch_);
      for (int i = 0; i < 3; ++i) scratch_.take(n_ * dims_.mlp.local() * c_);
    });
    back_through(
        [&] { config_.is_attention(layer) ? attention_backward(layer) : recurrent_backward(); });
    saved_.release(before_[layer]);
  }
  to_block(kFloat);
  size_.backward = scratch_.phase();
}

void PassWalk::pass() {
  size_ = {};
  saved_.release({});
  scratch_.release({});
  scratch_.phase();
  if (cut_) {
    for (int i = 0; i < 4; ++i) saved_.take(n_ * kInt);
  }
  saved_.take(n_ * kInt);
  for (int i = 0; i < 2; ++i) saved_.take(n_ * (config_.head_dim() / 4) * kFloat);
  for (const char kind : {'A', 'G'}) {
    if (config_.layers.find(kind) != std::string::npos) saved_.take(n_ * kInt);
  }
  if (cut_) saved_.take(shape_.sequences * kLeastPiece * kInt);
  if (n_ == 0) return;
  forward();
  if (shape_.training) {
    const tensor::ArenaScope scope(scratch_);
    backward();
  } else {
    size_.backward = scratch_.phase();
    const tensor::ArenaScope scope(scratch_);
    to_block(c_);
    head();
    size_.logits = scratch_.phase();
  }
}

PassSize pass_size(const GriffinConfig& config, const PassShape& shape) {
  PassWalk walk(config, shape);
  // A later pass may place an allocation elsewhere than the first one did, until the chunks fit.
  for (std::int64_t held = -1, before = -2; held != before;) {
    before = held;
    walk.pass();
    const PassSize size = walk.size();
    held = size.saved_held + size.scratch_held + size.saved_touched + size.scratch_touched;
  }
  return walk.size();
}

}  // namespace eyrie::model
