// The loss and the backward pass.
#include <algorithm>

#include "base/error.h"
#include "model/griffin_parts.h"
#include "tensor/ops/cross_entropy.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/embedding.h"
#include "tensor/ops/matmul.h"
#include "tensor/ops/positions.h"
#include "tensor/ops/rms_norm.h"
#include "tensor/ops/sums.h"
#include "tensor/transfer.h"

namespace eyrie::model {

using tensor::DType;
using tensor::Tensor;

// Computes the loss chunk by chunk; with `dtable` also its gradient, and in `dhidden` this rank's
// partial sum of the gradient of `hidden`.
double Griffin::head(Pass& pass, const Tensor& hidden, const BatchView& batch, float gradient_scale,
                     const Tensor& dtable, const Tensor& dhidden,
                     std::vector<float>* nll_out) const {
  tensor::ArenaScope scope(pass.scratch);
  const std::int64_t n = pass.tokens(), vocabulary = dims_.vocabulary.local();
  const std::int64_t rows = std::min(n, logit_rows(config_.vocabulary));
  const Tensor table = pass.parameters.weight(0, 0);
  EYRIE_CHECK(tensor::all_in_range(batch.targets, config_.vocabulary, batch.loss_mask),
              "a target outside of the model's vocabulary");
  const Tensor nll = pass.scratch.allocate(DType::kFloat32, 1, n);
  const Tensor logits = pass.scratch.allocate(DType::kFloat32, rows, vocabulary);
  const bool in_place = pass.compute == DType::kFloat32;
  const Tensor dlogits = !dtable    ? Tensor()
                         : in_place ? logits
                                    : pass.scratch.allocate(pass.compute, rows, vocabulary);
  for (std::int64_t begin = 0; begin < n; begin += rows) {
    const std::int64_t count = std::min(rows, n - begin);
    const Tensor chunk = hidden.row_range(begin, count), out = logits.row_range(0, count);
    tensor::matmul(chunk, table, out, {.transpose_b = true});
    const Tensor dout = !dtable ? Tensor() : dlogits.row_range(0, count);
    cross_entropy(pass, out, batch.targets.column_range(begin, count),
                  batch.loss_mask.column_range(begin, count), nll.column_range(begin, count), dout,
                  gradient_scale);
    if (!dtable) continue;
    tensor::matmul(dout, table, dhidden.row_range(begin, count));
    tensor::matmul(dout, chunk, dtable, {.transpose_a = true, .accumulate = begin > 0});
  }
  const double total = tensor::sum(nll);
  if (nll_out != nullptr) *nll_out = tensor::to_host<float>(nll);
  return total;
}

void Griffin::cross_entropy(Pass& pass, const Tensor& logits, const Tensor& targets,
                            const Tensor& weight, const Tensor& nll, const Tensor& dlogits,
                            float gradient_scale) const {
  const auto cap = static_cast<float>(config_.soft_cap);
  if (parallel_context_.tensor_ranks() == 1)
    return tensor::cross_entropy(logits, targets, weight, cap, nll, dlogits, gradient_scale);
  tensor::ArenaScope scope(pass.scratch);
  const std::int64_t first = dims_.vocabulary.part.begin, count = logits.rows();
  const Tensor sums = pass.scratch.allocate(DType::kFloat32, count, 3);
  const Tensor all =
      pass.scratch.allocate(DType::kFloat32, parallel_context_.tensor_ranks(), 3 * count);
  tensor::cross_entropy_sums(logits, targets, first, cap, sums);
  parallel::all_gather_rows(*parallel_context_.tensor, sums.reshaped(1, 3 * count), all);
  tensor::cross_entropy_split(logits, targets, weight, first, cap, all, nll, dlogits,
                              gradient_scale);
}

double Griffin::run_loss(const Parameters& parameters, const BatchView& batch, Workspace& workspace,
                         float gradient_scale, GradientSink* sink, std::vector<float>* nll) const {
  workspace.restart();
  const BatchView piece = own_piece(batch, workspace);
  Pass pass =
      begin_pass(parameters, piece.sequences, piece.length, piece.positions, nullptr, workspace);
  if (piece.length != batch.length) pass.context = parallel_context_.context;
  pass.whole_length = batch.length;
  set_attention_bounds(pass, batch.positions,
                       piece_of(batch.length, parallel_context_.context).begin);
  const std::int64_t width = config_.width, rows = stream_rows(pass);
  if (pass.tokens() == 0) return 0;
  std::vector<BlockActivations> block_activations;
  const Tensor hidden = run(pass, piece.tokens, block_activations, sink != nullptr);
  tensor::ArenaScope scope(pass.scratch);
  if (sink == nullptr) return head(pass, to_block(hidden, pass), piece, 0, {}, {}, nll);

  const Tensor dtable = parameter_in(units_[0].parameters[0], sink->gradient(0));
  // The gradient at the output of a norm, for this rank's rows; the blocks write it as fp32 partial
  // sums of all rows.
  const Tensor dnormed = pass.scratch.allocate(DType::kFloat32, rows, width);
  const auto fp32_partial_sums = [&] { return block_output(dnormed, pass); };
  double total = 0;
  {
    tensor::ArenaScope head_scope(pass.scratch);
    const Tensor partial_sums = fp32_partial_sums();
    total = head(pass, to_block(hidden, pass), piece, gradient_scale, dtable, partial_sums, nll);
    from_block(partial_sums, dnormed, pass, pass.compute);
  }

  // d: the gradient of the residual stream, from the last block back to the embedding. It is
  // rounded to `product` where a matrix product reads it.
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
    const Tensor partial_sums = fp32_partial_sums(), dy = to_block(product, pass);
    backward(dy, to_block(normed, pass), partial_sums);
    from_block(partial_sums, dnormed, pass, pass.compute);
  };
  const std::size_t last = units_.size() - 1;
  norm_backward({parameters, last, sink->gradient(last)}, 0, block_activations.back().x,
                block_activations.back().temporal_inverse);
  sink->finished(last);
  for (std::size_t i = blocks_.size(); i-- > 0;) {
    const Block& block = *blocks_[i];
    BlockActivations& activations = block_activations[i];
    const UnitView view{parameters, i + 1, sink->gradient(i + 1)};
    parameters.unshard(i + 1, i > 0 ? i : kNoUnit);
    if (recompute_) {
      Stream again{activations.x, pass.saved.allocate(DType::kFloat32, rows, width), {}, false};
      forward_block(i, again, pass, activations, true);
    }
    back_through(activations.channel_normed,
                 [&](const Tensor& dy, const Tensor& x, const Tensor& dx) {
                   block.mlp.backward(dy, x, view, pass, activations.mlp, dx);
                 });
    norm_backward(view, block.channel_scale, activations.middle, activations.channel_inverse);
    back_through(activations.temporal_normed,
                 [&](const Tensor& dy, const Tensor& x, const Tensor& dx) {
                   if (block.recurrent) {
                     block.recurrent->backward(dy, x, view, pass, activations.recurrent, dx);
                   } else {
                     block.attention->backward(dy, x, view, pass, activations.attention, dx);
                   }
                 });
    norm_backward(view, block.temporal_scale, activations.x, activations.temporal_inverse);
    parameters.reshard(i + 1);
    pass.saved.release(activations.before);
    sink->finished(i + 1);
  }
  tensor::embed_backward(to_block(d, pass), piece.tokens, config_.embedding_scale(), dtable,
                         dims_.vocabulary.part.begin);
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
