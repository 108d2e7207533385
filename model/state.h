// Recurrent state: all that a model keeps of the tokens it has read. Its size does not grow with
// their number beyond the attention window.
#pragma once

#include <cstdint>
#include <vector>

#include "model/config.h"
#include "tensor/arena.h"

namespace eyrie::model {

// Of `sequences` sequences. A recurrent layer keeps the fp32 state and the last 3 convolution
// inputs; an attention layer the keys (rotated) and values of up to `window` tokens, oldest first,
// in the compute dtype.
class State {
 public:
  State(const GriffinConfig& config, tensor::DType compute,
        std::int64_t sequences);  // empty: nothing read yet

  std::int64_t sequences() const { return sequences_; }
  std::int64_t position() const { return position_; }  // tokens read
  std::int64_t kept() const { return kept_; }          // keys held: min(position, window)

  // `sequences` copies of the one sequence `from`, which may all go on differently.
  State fork(std::int64_t from, std::int64_t sequences) const;

  struct Layer {
    tensor::Buffer recurrent,
        convolution;              // R: (sequences, rnn_width) fp32; (sequences · 3, rnn_width)
    tensor::Buffer keys, values;  // A: (sequences, kept, head_dim)
  };

 private:
  friend class Griffin;
  friend class AttentionBlock;
  friend class RecurrentBlock;
  GriffinConfig config_;
  tensor::DType compute_;
  std::int64_t sequences_, position_ = 0, kept_ = 0;
  std::vector<Layer> layers_;
};

}  // namespace eyrie::model
