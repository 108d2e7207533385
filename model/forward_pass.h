// What a forward pass over whole sequences leaves for the loss and for the backward pass.
#pragma once

#include <vector>

#include "model/residual_block.h"

namespace eyrie::model {

// The tensors live in the arenas of the pass, until the next pass begins.
struct ForwardPass {
  Pass pass;
  std::int64_t piece_begin = 0;  // where this context rank's piece begins in every sequence
  tensor::Tensor tokens = {};    // int32 (1, n) of the piece
  // The output of the final norm in compute dtype: of this rank's rows of the residual stream
  // (tensor_parallel.h), each D wide.
  tensor::Tensor hidden = {};
  // For the backward pass, if it was asked for.
  std::vector<ResidualBlock::Activations> blocks = {};
  tensor::Tensor final_sum = {}, final_inverse = {};  // input of the final norm, and its 1/rms

  // This rank's piece (1, n) of a row (1, tokens of the whole batch), in scratch memory unless it
  // is the row itself.
  tensor::Tensor own_piece(const tensor::Tensor& row) const;
};

}  // namespace eyrie::model
