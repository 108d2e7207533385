// The recurrent block's depthwise causal convolution over time, width 4:
//   y[t] = b + Σ_{s=0..3} w[3 − s] · x[t − s], where tokens of an earlier document, or before the
//   sequence, count as zero.
#pragma once

#include "tensor/tensor.h"

namespace eyrie::tensor {

constexpr int kConvWidth = 4;

// x and y (sequences·T, R), fp32 or bf16, hold `sequences` sequences of T tokens one after the
// other. w (4, R) and b (1, R) are fp32. positions: int32 (1, sequences·T), a token's position in
// its own document. history (sequences·3, R), in x's dtype, may be empty: the last inputs before
// this piece, oldest first. It is read and then replaced by the last three inputs, with those of
// earlier documents zeroed.
void conv1d(const Tensor& x, const Tensor& w, const Tensor& b, const Tensor& positions,
            std::int64_t sequences, const Tensor& y, const Tensor& history);

// Data of the pieces before and after this one, if a sequence is split over ranks.
struct ConvNeighbours {
  Tensor history;     // (sequences·3, R), x's dtype: the last inputs before this piece
  Tensor next_dy;     // (sequences·3, R) fp32: dy of the first three tokens after this piece
  Tensor next_place;  // int32 (1, sequences·3): their positions in their documents; 0: none
};

// dy (n, R) is fp32; dx (n, R) is fp32 or bf16; dw (4, R) and db (1, R) are fp32. dx, dw and db are
// overwritten. Without neighbours the sequences begin and end here.
void conv1d_backward(const Tensor& dy, const Tensor& x, const Tensor& w, const Tensor& positions,
                     std::int64_t sequences, const Tensor& dx, const Tensor& dw, const Tensor& db,
                     const ConvNeighbours& neighbours = {});

}  // namespace eyrie::tensor
