// One forward pass: its setup, the residual stream over tensor ranks, the blocks.
#include <algorithm>
#include <string>
#include <vector>

#include "base/error.h"
#include "model/griffin_parts.h"
#include "tensor/ops/attention.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/embedding.h"
#include "tensor/ops/positions.h"
#include "tensor/ops/rms_norm.h"

namespace eyrie::model {

using tensor::DType;
using tensor::Tensor;

// Returns this context rank's piece of a batch; with one rank, the batch itself.
BatchView Griffin::own_piece(const BatchView& batch, Workspace& workspace) const {
  const parallel::Part piece = piece_of(batch.length, parallel_context_.context);
  const auto here = [&](const Tensor& x) { return workspace.saved.on_device(x); };
  if (piece.count == batch.length) {
    return {batch.sequences,     batch.length,          here(batch.tokens),
            here(batch.targets), here(batch.positions), here(batch.loss_mask)};
  }
  EYRIE_CHECK(piece.count >= kLeastPiece && batch.positions,
              "a context rank's piece of a sequence is too short");
  const auto cut = [&](const Tensor& all) {
    const Tensor own = workspace.saved.allocate(all.dtype(), batch.sequences, piece.count);
    tensor::copy(all.reshaped(batch.sequences, batch.length).column_range(piece.begin, piece.count),
                 own);
    return own.reshaped(1, own.count());
  };
  return {batch.sequences,    piece.count,          cut(batch.tokens),
          cut(batch.targets), cut(batch.positions), cut(batch.loss_mask)};
}

// Sets up positions and rotary angles, once per pass.
Pass Griffin::begin_pass(const Parameters& parameters, std::int64_t sequences, std::int64_t length,
                         const Tensor& positions, State* state, Workspace& workspace) const {
  const std::int64_t n = sequences * length, pairs = config_.head_dim() / 4;
  const auto ints = [&] { return workspace.saved.allocate(DType::kInt32, 1, n); };
  const auto angles = [&] { return workspace.saved.allocate(DType::kFloat32, n, pairs); };
  Pass pass{parameters, parameters.compute(), sequences,         length, ints(), {}, {}, angles(),
            angles(),   workspace.saved,      workspace.scratch, state};
  if (positions) {
    tensor::copy(positions, pass.positions);
  } else {
    std::vector<std::int64_t> starts(static_cast<std::size_t>(sequences), 0);
    for (std::int64_t s = 0; state != nullptr && s < sequences; ++s)
      starts[static_cast<std::size_t>(s)] = state->position(s);
    tensor::continue_positions(starts, pass.positions);
  }
  if (config_.layers.find_first_of("AG") != std::string::npos) {
    tensor::rope_angles(pass.positions, config_.head_dim(), pass.cosines, pass.sines);
  }
  return pass;
}

// Sets which keys each query sees. `begin`: where this piece begins in its sequences.
void Griffin::set_attention_bounds(Pass& pass, const Tensor& whole_positions,
                                   std::int64_t begin) const {
  const auto look = [&](AttentionBounds& bounds, std::int64_t reach) {
    bounds.past = std::min(begin, reach);
    for (std::int64_t s = 0; pass.state != nullptr && s < pass.sequences; ++s)
      bounds.past = std::max(bounds.past, std::min(pass.state->position(s), reach));
    bounds.first_key = pass.saved.allocate(DType::kInt32, 1, pass.tokens());
    tensor::first_keys(pass.positions, pass.sequences, bounds.past, reach, bounds.first_key);
  };
  if (config_.layers.find('A') != std::string::npos) look(pass.local, config_.window);
  if (config_.layers.find('G') != std::string::npos) look(pass.global, GriffinConfig::kUnlimited);
  if (pass.context == nullptr) return;
  // The last piece has no next tokens: zeros. All others have at least kLeastPiece.
  const Tensor next = pass.saved.allocate(DType::kInt32, pass.sequences, kLeastPiece);
  pass.next_positions = next.reshaped(1, next.count());
  const std::int64_t end = begin + pass.length;
  if (end == pass.whole_length) return tensor::zero(next);
  tensor::copy(
      whole_positions.reshaped(pass.sequences, pass.whole_length).column_range(end, kLeastPiece),
      next);
}

std::int64_t Griffin::stream_rows(const Pass& pass) const {
  if (!parallel_context_.sequence) return pass.tokens();
  return parallel::part_of(pass.tokens(), parallel_context_.tensor_ranks(),
                           parallel_context_.tensor_rank())
      .count;
}

// Returns all rows of `own`, all-gathered if this rank has only a part of them.
Tensor Griffin::to_block(const Tensor& own, Pass& pass) const {
  if (!parallel_context_.sequence || parallel_context_.tensor_ranks() == 1) return own;
  const Tensor all = pass.scratch.allocate(own.dtype(), pass.tokens(), own.columns());
  parallel::all_gather_rows(*parallel_context_.tensor, own, all);
  return all;
}

// Returns where a block writes its partial sums, which from_block() sums into `own`.
Tensor Griffin::block_output(const Tensor& own, Pass& pass) const {
  if (!parallel_context_.sequence || parallel_context_.tensor_ranks() == 1) return own;
  return pass.scratch.allocate(DType::kFloat32, pass.tokens(), own.columns());
}

void Griffin::from_block(const Tensor& partial_sums, const Tensor& own, Pass& pass,
                         DType comm_dtype) const {
  if (parallel_context_.tensor_ranks() == 1) return;
  if (parallel_context_.sequence) {
    parallel::reduce_scatter_rows(*parallel_context_.tensor, partial_sums, own, comm_dtype,
                                  pass.scratch);
  } else {
    parallel::all_reduce_rows(*parallel_context_.tensor, own, comm_dtype, pass.scratch);
  }
}

// Runs a block's two sub-blocks; the output of each is added to the residual stream by the norm
// that follows it. With `keeps`, everything that the backward pass needs is kept: every sum of the
// stream has memory of its own. Otherwise the spare buffer and that of the last sum take turns.
void Griffin::forward_block(std::size_t i, Stream& stream, Pass& pass,
                            BlockActivations& activations, bool keeps) const {
  const Block& block = *blocks_[i];
  const UnitView view{pass.parameters, i + 1, {}, pass.decode};
  const std::int64_t width = config_.width, rows = stream_rows(pass);
  const auto normed_sum = [&](int scale, Tensor& normed, Tensor& inverse_rms) {
    normed = pass.saved.allocate(pass.compute, rows, width);
    inverse_rms = pass.saved.allocate(DType::kFloat32, 1, rows);
    if (stream.pending) {
      const Tensor sum = keeps ? pass.saved.allocate(DType::kFloat32, rows, width) : stream.spare;
      tensor::add_rms_norm(stream.x, stream.delta, sum, view.weight(scale), normed, inverse_rms);
      if (!keeps) stream.spare = stream.x;
      stream.x = sum;
    } else {
      tensor::rms_norm(stream.x, view.weight(scale), normed, inverse_rms);
    }
    stream.pending = true;
  };
  const auto through = [&](const Tensor& normed, const auto& forward) {
    tensor::ArenaScope scope(pass.scratch);
    const Tensor out = block_output(stream.delta, pass);
    forward(to_block(normed, pass), out);
    from_block(out, stream.delta, pass, pass.compute);
  };
  normed_sum(block.temporal_scale, activations.temporal_normed, activations.temporal_inverse);
  activations.x = stream.x;
  through(activations.temporal_normed, [&](const Tensor& x, const Tensor& y) {
    if (block.recurrent) {
      block.recurrent->forward(x, view, pass, activations.recurrent, y);
    } else {
      block.attention->forward(x, view, pass, activations.attention, y);
    }
  });
  normed_sum(block.channel_scale, activations.channel_normed, activations.channel_inverse);
  activations.middle = stream.x;
  through(activations.channel_normed, [&](const Tensor& x, const Tensor& y) {
    block.mlp.forward(x, view, pass, activations.mlp, y);
  });
}

// Runs from the embedding to the final norm. A block's activations are kept for the backward pass,
// or released as soon as the next block has its input: in inference, and in training with
// recomputation, which keeps only that input.
Tensor Griffin::run(Pass& pass, const Tensor& tokens,
                    std::vector<BlockActivations>& block_activations, bool training) const {
  const std::int64_t width = config_.width, rows = stream_rows(pass);
  const bool keeps = training && !recompute_;
  EYRIE_CHECK(tensor::all_in_range(tokens, config_.vocabulary),
              "a token outside of the model's vocabulary");
  const auto keep = [&](DType dtype) { return pass.saved.allocate(dtype, rows, width); };
  const DType fp32 = DType::kFloat32;
  Stream stream{keep(fp32), keep(fp32), {}, false};
  if (!keeps) stream.spare = keep(fp32);
  {
    tensor::ArenaScope scope(pass.scratch);
    const Tensor looked_up = block_output(stream.x, pass);
    tensor::embed(pass.parameters.weight(0, 0), tokens, config_.embedding_scale(), looked_up,
                  dims_.vocabulary.part.begin);
    // One tensor rank has the embedding row, the others zeros: in fp32 the sum is exact.
    from_block(looked_up, stream.x, pass, fp32);
  }
  block_activations.resize(training ? blocks_.size() : 1);
  if (!training) pass.parameters.begin_pass();
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    BlockActivations& activations = block_activations[training ? i : 0];
    activations.before = pass.saved.mark();
    pass.parameters.unshard(i + 1, i + 1 < blocks_.size() ? i + 2 : kNoUnit);
    if (training && recompute_) {
      const Tensor input = keep(fp32);
      tensor::copy(stream.x, input);
      if (stream.pending) tensor::add(stream.delta, input);
      const tensor::ArenaScope block(pass.saved);
      BlockActivations forgotten;
      Stream inside{input, stream.delta, keep(fp32), false};
      forward_block(i, inside, pass, forgotten, false);
      tensor::copy(inside.x, stream.x);
      stream.pending = true;
      activations.x = input;
    } else {
      forward_block(i, stream, pass, activations, keeps);
      if (!training) pass.saved.release(activations.before);
    }
    pass.parameters.reshard(i + 1);
  }
  const Tensor normed = keep(pass.compute), inverse_rms = pass.saved.allocate(fp32, 1, rows);
  const Tensor sum = keeps ? keep(fp32) : stream.spare;
  const Tensor scale = pass.parameters.weight(units_.size() - 1, 0);
  tensor::add_rms_norm(stream.x, stream.delta, sum, scale, normed, inverse_rms);
  if (training) {
    block_activations.emplace_back();
    block_activations.back().x = sum;
    block_activations.back().temporal_inverse = inverse_rms;
  }
  return normed;
}

}  // namespace eyrie::model
