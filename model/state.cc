// Recurrent state: allocation and forking.
#include "model/state.h"

#include <cstring>

namespace eyrie::model {

State::State(const GriffinConfig& config, tensor::DType compute, std::int64_t sequences)
    : config_(config), compute_(compute), sequences_(sequences), layers_(config.layers.size()) {
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    if (config.layers[i] != 'R') continue;
    const auto values = static_cast<std::size_t>(sequences * config.rnn_width);
    layers_[i].recurrent = tensor::Buffer(values * 4);
    layers_[i].recurrent.zero();
    layers_[i].convolution =
        tensor::Buffer(values * 3 * static_cast<std::size_t>(size_of(compute)));
    layers_[i].convolution.zero();
  }
}

State State::fork(std::int64_t from, std::int64_t sequences) const {
  EYRIE_CHECK(from >= 0 && from < sequences_, "fork of a sequence that is not in the state");
  State copy(config_, compute_, sequences);
  copy.position_ = position_;
  copy.kept_ = kept_;
  // Every buffer is laid out by sequence: its share of one sequence is copied `sequences` times.
  const auto copy_shares = [&](const tensor::Buffer& source, tensor::Buffer& target) {
    const std::size_t share = source.size() / static_cast<std::size_t>(sequences_);
    target = tensor::Buffer(share * static_cast<std::size_t>(sequences));
    for (std::int64_t s = 0; s < sequences && share > 0; ++s) {
      std::memcpy(target.data() + static_cast<std::size_t>(s) * share,
                  source.data() + static_cast<std::size_t>(from) * share, share);
    }
  };
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    copy_shares(layers_[i].recurrent, copy.layers_[i].recurrent);
    copy_shares(layers_[i].convolution, copy.layers_[i].convolution);
    copy_shares(layers_[i].keys, copy.layers_[i].keys);
    copy_shares(layers_[i].values, copy.layers_[i].values);
  }
  return copy;
}

}  // namespace eyrie::model
