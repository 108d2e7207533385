// Recurrent state: rings of keys and values, copies of sequences.
#include "model/state.h"

#include <algorithm>

#include "tensor/ops/conv1d.h"
#include "tensor/ops/elementwise.h"

namespace eyrie::model {

using tensor::Buffer;
using tensor::DType;
using tensor::KeyRing;
using tensor::Tensor;

namespace {

// A copy of `from` with room for `size` bytes.
Buffer resized(const Buffer& from, std::size_t size, tensor::Device device) {
  Buffer copy(size, device);
  copy.copy_from(from, 0, std::min(size, from.size()), 0);
  return copy;
}

}  // namespace

State::State(const GriffinConfig& config, DType compute, std::int64_t sequences,
             tensor::Device device)
    : config_(config),
      compute_(compute),
      device_(device),
      marks_(static_cast<std::size_t>(sequences)),
      layers_(config.layers.size()) {
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    if (config_.is_attention(i)) {
      layers_[i].rings.resize(marks_.size());
      continue;
    }
    const std::size_t values = marks_.size() * static_cast<std::size_t>(config_.rnn_width);
    layers_[i].recurrent = Buffer(values * 4, device);
    layers_[i].recurrent.zero();
    layers_[i].convolution = Buffer(
        values * (tensor::kConvWidth - 1) * static_cast<std::size_t>(size_of(compute)), device);
    layers_[i].convolution.zero();
  }
}

std::size_t State::bytes() const {
  std::size_t sum = 0;
  for (const Layer& layer : layers_) {
    sum += layer.recurrent.size() + layer.convolution.size();
    for (const Ring& ring : layer.rings) sum += ring.keys.size() + ring.values.size();
  }
  return sum;
}

State State::fork(std::int64_t from, std::int64_t sequences) const {
  State copy(config_, compute_, 0, device_);
  for (std::int64_t s = 0; s < sequences; ++s) copy.append(*this, from);
  return copy;
}

void State::append(const State& other, std::int64_t from) {
  EYRIE_CHECK(from >= 0 && from < other.sequences(), "a sequence that is not in the state");
  const auto row = static_cast<std::size_t>(from);
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    Layer& layer = layers_[i];
    const Layer& source = other.layers_[i];
    if (config_.is_attention(i)) {
      const Ring& ring = source.rings[row];
      layer.rings.push_back({resized(ring.keys, ring.keys.size(), device_),
                             resized(ring.values, ring.values.size(), device_), ring.slots});
      continue;
    }
    const auto add_row = [&](Buffer& target, const Buffer& all, std::size_t share) {
      const std::size_t before = share * marks_.size();
      // Doubles the room, so that many appends copy little.
      if (target.size() < before + share) target = resized(target, 2 * before + share, device_);
      target.copy_from(all, row * share, share, before);
    };
    const auto width = static_cast<std::size_t>(config_.rnn_width);
    add_row(layer.recurrent, source.recurrent, width * 4);
    add_row(layer.convolution, source.convolution,
            width * (tensor::kConvWidth - 1) * static_cast<std::size_t>(size_of(compute_)));
  }
  marks_.push_back(other.marks_[row]);
}

void State::remove(std::int64_t sequence) {
  EYRIE_CHECK(sequence >= 0 && sequence < sequences(), "a sequence that is not in the state");
  const auto row = static_cast<std::size_t>(sequence), last = marks_.size() - 1;
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    Layer& layer = layers_[i];
    if (config_.is_attention(i)) {
      if (row != last) layer.rings[row] = std::move(layer.rings[last]);
      layer.rings.pop_back();
      continue;
    }
    const auto move_row = [&](const Tensor& all, std::int64_t rows) {  // `rows` per sequence
      const auto of = [&](std::size_t s) {
        return all.row_range(static_cast<std::int64_t>(s) * rows, rows);
      };
      if (row != last) tensor::copy(of(last), of(row));
    };
    move_row(recurrent(i), 1);
    move_row(convolution(i), tensor::kConvWidth - 1);
  }
  marks_[row] = marks_[last];
  marks_.pop_back();
}

Tensor State::recurrent(std::size_t layer) const {
  return layers_[layer].recurrent.view(DType::kFloat32, sequences(), config_.rnn_width);
}

Tensor State::convolution(std::size_t layer) const {
  return layers_[layer].convolution.view(compute_, sequences() * (tensor::kConvWidth - 1),
                                         config_.rnn_width);
}

std::size_t State::key_bytes() const {
  return static_cast<std::size_t>(config_.head_dim() * size_of(compute_));
}

// Until a ring has its full size it never wraps, so that growing it moves no slot.
void State::grow(std::size_t layer, Ring& ring, std::int64_t tokens) const {
  const std::int64_t full = config_.reach(layer) + 1, needed = std::min(tokens, full);
  if (ring.slots >= needed) return;
  ring.slots = std::max(needed, std::min(2 * ring.slots, full));
  const std::size_t size = static_cast<std::size_t>(ring.slots) * key_bytes();
  ring.keys = resized(ring.keys, size, device_);
  ring.values = resized(ring.values, size, device_);
}

Tensor State::rows_of(const Ring& ring, const Buffer& memory) const {
  return memory.view(compute_, ring.slots, config_.head_dim());
}

namespace {

// Calls visit(t, slot, count) for runs of tokens t in [begin, end) whose slots, of which `first` is
// token 0's, are neighbours.
template <class Visit>
void for_runs(std::int64_t slots, std::int64_t first, std::int64_t begin, std::int64_t end,
              const Visit& visit) {
  for (std::int64_t t = begin; t < end;) {
    const std::int64_t slot = (first + t) % slots, count = std::min(end - t, slots - slot);
    visit(t, slot, count);
    t += count;
  }
}

}  // namespace

void State::put(std::size_t layer, std::int64_t sequence, const Tensor& keys,
                const Tensor& values) {
  Ring& ring = layers_[layer].rings[static_cast<std::size_t>(sequence)];
  const std::int64_t before = mark(sequence).tokens, n = keys.rows();
  grow(layer, ring, before + n);
  const Tensor all_keys = rows_of(ring, ring.keys), all_values = rows_of(ring, ring.values);
  for_runs(ring.slots, before, std::max<std::int64_t>(0, n - ring.slots), n,
           [&](std::int64_t t, std::int64_t slot, std::int64_t count) {
             tensor::copy(keys.row_range(t, count), all_keys.row_range(slot, count));
             tensor::copy(values.row_range(t, count), all_values.row_range(slot, count));
           });
}

void State::last(std::size_t layer, std::int64_t sequence, const Tensor& keys,
                 const Tensor& values) const {
  const Ring& ring = layers_[layer].rings[static_cast<std::size_t>(sequence)];
  const std::int64_t before = mark(sequence).tokens, n = keys.rows();
  const Tensor all_keys = rows_of(ring, ring.keys), all_values = rows_of(ring, ring.values);
  for_runs(ring.slots, before - n, 0, n,
           [&](std::int64_t t, std::int64_t slot, std::int64_t count) {
             tensor::copy(all_keys.row_range(slot, count), keys.row_range(t, count));
             tensor::copy(all_values.row_range(slot, count), values.row_range(t, count));
           });
}

KeyRing State::ring(std::size_t layer, std::int64_t sequence, std::int64_t seen) const {
  const Ring& ring = layers_[layer].rings[static_cast<std::size_t>(sequence)];
  return {rows_of(ring, ring.keys), rows_of(ring, ring.values), mark(sequence).tokens, seen};
}

void State::advance(std::int64_t sequence, std::int64_t n, std::int64_t position) {
  Mark& mark = marks_[static_cast<std::size_t>(sequence)];
  mark.tokens += n;
  mark.position = position;
}

}  // namespace eyrie::model
