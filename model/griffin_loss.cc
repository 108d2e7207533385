// The loss and the backward pass.
#include <algorithm>

#include "base/error.h"
#include "model/griffin_parts.h"
#include "tensor/ops/cross_entropy.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/embedding.h"
#include "tensor/ops/matmul.h"
#include "tensor/ops/rms_norm.h"

namespace eyrie::model {

using tensor::DType;
using tensor::Tensor;

// Loss, and with `gradients` (the embedding unit's buffer) also its gradient and this rank's term
// of that of hidden, chunk by chunk.
double Griffin::head(Pass& pass, const Tensor& hidden, const BatchView& batch, float gradient_scale,
                     float* gradients, const Tensor& dhidden, std::vector<float>* nll_out) const {
  tensor::ArenaScope scope(pass.scratch);
  const std::int64_t n = pass.tokens(), vocabulary = sizes_.vocabulary.own();
  const std::int64_t rows = std::min(n, logit_rows(config_.vocabulary));
  const Tensor table = pass.parameters.weight(0, 0);
  const Tensor targets(const_cast<std::int32_t*>(batch.targets), DType::kInt32, 1, n);
  const Tensor weight(const_cast<float*>(batch.weight), DType::kFloat32, 1, n);
  for (std::int64_t t = 0; t < n; ++t)
    EYRIE_CHECK(
        batch.weight[t] == 0 || (batch.targets[t] >= 0 && batch.targets[t] < config_.vocabulary),
        "a target outside of the model's vocabulary");
  const Tensor nll = pass.scratch.allocate(DType::kFloat32, 1, n);
  const Tensor logits = pass.scratch.allocate(DType::kFloat32, rows, vocabulary);
  const bool in_place = pass.compute == DType::kFloat32;
  const Tensor dlogits = gradients == nullptr ? Tensor()
                         : in_place           ? logits
                                    : pass.scratch.allocate(pass.compute, rows, vocabulary);
  for (std::int64_t begin = 0; begin < n; begin += rows) {
    const std::int64_t count = std::min(rows, n - begin);
    const Tensor chunk = hidden.row_range(begin, count), out = logits.row_range(0, count);
    tensor::matmul(chunk, table, out, {.transpose_b = true});
    const Tensor dout = gradients == nullptr ? Tensor() : dlogits.row_range(0, count);
    cross_entropy(pass, out, targets.column_range(begin, count), weight.column_range(begin, count),
                  nll.column_range(begin, count), dout, gradient_scale);
    if (gradients == nullptr) continue;
    tensor::matmul(dout, table, dhidden.row_range(begin, count));
    tensor::matmul(dout, chunk, row_of(units_[0].rows[0], gradients),
                   {.transpose_a = true, .accumulate = begin > 0});
  }
  double total = 0;
  for (std::int64_t t = 0; t < n; ++t) total += static_cast<double>(nll.f32()[t]);
  if (nll_out != nullptr) nll_out->assign(nll.f32(), nll.f32() + n);
  return total;
}

void Griffin::cross_entropy(Pass& pass, const Tensor& logits, const Tensor& targets,
                            const Tensor& weight, const Tensor& nll, const Tensor& dlogits,
                            float gradient_scale) const {
  const auto cap = static_cast<float>(config_.soft_cap);
  if (share_.tensor_ranks() == 1)
    return tensor::cross_entropy(logits, targets, weight, cap, nll, dlogits, gradient_scale);
  tensor::ArenaScope scope(pass.scratch);
  const std::int64_t first = sizes_.vocabulary.part.begin, count = logits.rows();
  const Tensor sums = pass.scratch.allocate(DType::kFloat32, count, 3);
  const Tensor all = pass.scratch.allocate(DType::kFloat32, share_.tensor_ranks(), 3 * count);
  tensor::cross_entropy_sums(logits, targets, first, cap, sums);
  parallel::all_gather_rows(*share_.tensor, sums.reshaped(1, 3 * count), all);
  tensor::cross_entropy_split(logits, targets, weight, first, cap, all, nll, dlogits,
                              gradient_scale);
}

double Griffin::run_loss(const Parameters& parameters, const BatchView& batch, Workspace& workspace,
                         float gradient_scale, GradientSink* sink, std::vector<float>* nll) const {
  workspace.restart();
  const BatchView piece = own_piece(batch, workspace);
  Pass pass =
      begin_pass(parameters, piece.sequences, piece.length, piece.positions, nullptr, workspace);
  if (piece.length != batch.length) pass.context = share_.context;
  pass.whole_length = batch.length;
  see(pass, batch.positions, piece_of(batch.length, share_.context).begin);
  const std::int64_t n = pass.tokens(), width = config_.width, rows = stream_rows(pass);
  if (n == 0) return 0;
  std::vector<Tape> tapes;
  const Tensor hidden = run(pass, piece.tokens, tapes, sink != nullptr);
  tensor::ArenaScope scope(pass.scratch);
  if (sink == nullptr) return head(pass, to_block(hidden, pass), piece, 0, nullptr, {}, nll);

  float* embedding_gradient = sink->gradient(0);
  // What arrives at the output of a norm: its own rows, and the terms of all rows that blocks give.
  const Tensor dnormed = pass.scratch.allocate(DType::kFloat32, rows, width);
  const auto fp32_terms = [&] { return block_output(dnormed, pass); };
  double total = 0;
  {
    tensor::ArenaScope head_scope(pass.scratch);
    const Tensor terms = fp32_terms();
    total =
        head(pass, to_block(hidden, pass), piece, gradient_scale, embedding_gradient, terms, nll);
    from_block(terms, dnormed, pass, pass.compute);
  }

  // d: the gradient of the residual stream, from the end to the embedding. It is rounded to
  // `product` where a matrix product reads it.
  const Tensor d = pass.scratch.zeros(DType::kFloat32, rows, width);
  const Tensor product =
      pass.compute == DType::kFloat32 ? d : pass.scratch.allocate(pass.compute, rows, width);
  const auto norm_backward = [&](const UnitView& view, int scale, const Tensor& x,
                                 const Tensor& inverse) {
    tensor::rms_norm_backward(dnormed, x, view.weight(scale), inverse, d, view.gradient(scale));
  };
  const auto back_through = [&](const Tensor& normed, const auto& backward) {
    if (pass.compute != DType::kFloat32) tensor::convert(d, product);
    tensor::ArenaScope block_scope(pass.scratch);
    const Tensor terms = fp32_terms(), dy = to_block(product, pass);
    backward(dy, to_block(normed, pass), terms);
    from_block(terms, dnormed, pass, pass.compute);
  };
  const std::size_t last = units_.size() - 1;
  norm_backward({parameters, last, sink->gradient(last)}, 0, tapes.back().x,
                tapes.back().temporal_inverse);
  sink->finished(last);
  for (std::size_t i = blocks_.size(); i-- > 0;) {
    const Block& block = *blocks_[i];
    Tape& tape = tapes[i];
    const UnitView view{parameters, i + 1, sink->gradient(i + 1)};
    parameters.enter(i + 1, i > 0 ? i : kNoUnit);
    if (recompute_) {
      Stream again{tape.x, pass.saved.allocate(DType::kFloat32, rows, width), {}, false};
      forward_block(i, again, pass, tape, true);
    }
    back_through(tape.channel_normed, [&](const Tensor& dy, const Tensor& x, const Tensor& dx) {
      block.mlp.backward(dy, x, view, pass, tape.mlp, dx);
    });
    norm_backward(view, block.channel_scale, tape.middle, tape.channel_inverse);
    back_through(tape.temporal_normed, [&](const Tensor& dy, const Tensor& x, const Tensor& dx) {
      if (block.recurrent) {
        block.recurrent->backward(dy, x, view, pass, tape.recurrent, dx);
      } else {
        block.attention->backward(dy, x, view, pass, tape.attention, dx);
      }
    });
    norm_backward(view, block.temporal_scale, tape.x, tape.temporal_inverse);
    parameters.leave(i + 1);
    pass.saved.release(tape.before);
    sink->finished(i + 1);
  }
  const Tensor ids(const_cast<std::int32_t*>(piece.tokens), DType::kInt32, 1, n);
  tensor::embed_backward(to_block(d, pass), ids, config_.embedding_scale(),
                         row_of(units_[0].rows[0], embedding_gradient),
                         sizes_.vocabulary.part.begin);
  sink->finished(0);
  return total;
}

double Griffin::loss(const Parameters& parameters, const BatchView& batch, Workspace& workspace,
                     std::vector<float>* nll) const {
  return run_loss(parameters, batch, workspace, 0, nullptr, nll);
}

double Griffin::loss(const Parameters& parameters, const BatchView& batch, Workspace& workspace,
                     float gradient_scale, GradientSink& sink) const {
  return run_loss(parameters, batch, workspace, gradient_scale, &sink, nullptr);
}

}  // namespace eyrie::model
