// The parts of Griffin that its own files share. Not for others.
#pragma once

#include <optional>

#include "model/griffin.h"

namespace eyrie::model {

struct Griffin::Block {
  Block(const GriffinConfig& config, const Share& share, const Sizes& sizes, std::size_t layer,
        parallel::Unit& unit);
  int temporal_scale, channel_scale;
  MlpBlock mlp;
  std::optional<RecurrentBlock> recurrent;
  std::optional<AttentionBlock> attention;
};

struct Griffin::Tape {
  tensor::Arena::Mark
      before;  // of the saved arena: released when the block's backward pass is done
  tensor::Tensor x, temporal_normed, temporal_inverse;     // the block's input and its norm
  tensor::Tensor middle, channel_normed, channel_inverse;  // after the temporal sub-block
  RecurrentBlock::Saved recurrent;
  AttentionBlock::Saved attention;
  MlpBlock::Saved mlp;
};

struct Griffin::Stream {
  tensor::Tensor x, delta, spare;  // x + delta where `pending`, else x; fp32
  bool pending;
};

}  // namespace eyrie::model
