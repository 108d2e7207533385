// The recurrent block's depthwise causal convolution over time, width 4:
//   y[t] = b + Σ_{s=0..3} w[3 − s] · x[t − s], where tokens of an earlier document, or before the
//   sequence, count as zero.
#pragma once

#include "tensor/tensor.h"

namespace eyrie::tensor {

constexpr int kConvWidth = 4;

// `sequences` rows of T tokens lie one after the other in x and y (sequences·T, R) any. w (4, R), b
// (1, R) fp32. positions: int32 (1, sequences·T), a token's place in its own document. history
// (sequences·3, R), x's dtype, may be empty: the last inputs before this piece, oldest first; it is
// read and then replaced by the last three inputs, with those of earlier documents zeroed.
void conv1d(const Tensor& x, const Tensor& w, const Tensor& b, const Tensor& positions,
            std::int64_t sequences, const Tensor& y, const Tensor& history);

// The pieces before and after this one, where a sequence is cut over ranks.
struct ConvNeighbours {
  Tensor history;  // (sequences·3, R), x's dtype: the last inputs before this piece
  Tensor next_dy;  // (sequences·3, R) fp32: dy of the first three tokens after it
  Tensor
      next_place;  // int32 (1, sequences·3): their places in their documents; 0 where there is none
};

// dy (n, R) fp32. dx (n, R) any; dw (4, R) and db (1, R) fp32 are written. Without neighbours the
// sequences begin and end here.
void conv1d_backward(const Tensor& dy, const Tensor& x, const Tensor& w, const Tensor& positions,
                     std::int64_t sequences, const Tensor& dx, const Tensor& dw, const Tensor& db,
                     const ConvNeighbours& neighbours = {});

}  // namespace eyrie::tensor
