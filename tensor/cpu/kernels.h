// The implementations on the CPU of the operations in tensor/ops, with the same parameters.
// Operands are in host memory, and their shapes fit.
#pragma once

#include "tensor/ops/adamw.h"
#include "tensor/ops/attention.h"
#include "tensor/ops/conv1d.h"
#include "tensor/ops/cross_entropy.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/embedding.h"
#include "tensor/ops/few_rows.h"
#include "tensor/ops/int8.h"
#include "tensor/ops/matmul.h"
#include "tensor/ops/positions.h"
#include "tensor/ops/rg_lru.h"
#include "tensor/ops/rms_norm.h"
#include "tensor/ops/sums.h"
#include "tensor/transfer.h"

namespace eyrie::tensor::cpu {

decltype(tensor::adamw) adamw;

decltype(tensor::attention) attention;
decltype(tensor::attention_backward) attention_backward;
decltype(tensor::rope_angles) rope_angles;
decltype(tensor::rope) rope;

decltype(tensor::conv1d) conv1d;
decltype(tensor::conv1d_backward) conv1d_backward;

decltype(tensor::cross_entropy) cross_entropy;
decltype(tensor::cross_entropy_sums) cross_entropy_sums;
decltype(tensor::cross_entropy_split) cross_entropy_split;
decltype(tensor::score_logits) score_logits;

decltype(tensor::zero) zero;
decltype(tensor::copy) copy;
decltype(tensor::gather_rows) gather_rows;
decltype(tensor::convert) convert;
decltype(tensor::round_to_bfloat16) round_to_bfloat16;
decltype(tensor::transpose) transpose;
decltype(tensor::add) add;
decltype(tensor::affine) affine;
decltype(tensor::column_sum) column_sum;
decltype(tensor::gelu_gate) gelu_gate;
decltype(tensor::gelu_gate_backward) gelu_gate_backward;
decltype(tensor::soft_cap) soft_cap;

decltype(tensor::embed) embed;
decltype(tensor::embed_int8) embed_int8;
decltype(tensor::embed_backward) embed_backward;

decltype(tensor::few_rows) few_rows;
decltype(tensor::attention_step) attention_step;

decltype(tensor::matmul) matmul;

decltype(tensor::quantize) quantize;
decltype(tensor::dequantize) dequantize;
decltype(tensor::matmul_int8) matmul_int8;

decltype(tensor::continue_positions) continue_positions;
decltype(tensor::first_keys) first_keys;
decltype(tensor::all_in_range) all_in_range;

decltype(tensor::rg_lru) rg_lru;
decltype(tensor::rg_lru_backward) rg_lru_backward;
decltype(tensor::rg_lru_summary) rg_lru_summary;
decltype(tensor::rg_lru_backward_summary) rg_lru_backward_summary;

decltype(tensor::add_rms_norm) add_rms_norm;
decltype(tensor::rms_norm_backward) rms_norm_backward;

decltype(tensor::sum) sum;
decltype(tensor::sums_of_squares) sums_of_squares;
decltype(tensor::sum_tree) sum_tree;

void read_elements(const Tensor& matrix, std::span<const Element> elements,
                   std::span<float> values);

}  // namespace eyrie::tensor::cpu
