// The parts of Griffin that its own source files share. Internal.
#pragma once

#include <optional>

#include "model/griffin.h"

namespace eyrie::model {

struct Griffin::Block {
  Block(const GriffinConfig& config, const ParallelContext& parallel_context, const LocalDims& dims,
        std::size_t layer, parallel::Unit& unit);
  int temporal_scale, channel_scale;
  MlpBlock mlp;
  std::optional<RecurrentBlock> recurrent;
  std::optional<AttentionBlock> attention;
};

struct Griffin::BlockActivations {
  tensor::Arena::Mark before;  // of the saved arena; released after the block's backward pass
  tensor::Tensor x, temporal_normed, temporal_inverse;     // the block's input and its norm
  tensor::Tensor middle, channel_normed, channel_inverse;  // after the temporal sub-block
  RecurrentBlock::Saved recurrent;
  AttentionBlock::Saved attention;
  MlpBlock::Saved mlp;
};

struct Griffin::Stream {
  tensor::Tensor x, delta, spare;  // the stream is x + delta if `pending`, else x; fp32
  bool pending;
};

}  // namespace eyrie::model
