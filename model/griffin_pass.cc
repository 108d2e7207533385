// One forward pass: its beginning, the residual stream between the ranks, the blocks.
#include <algorithm>
#include <string>

#include "base/error.h"
#include "model/griffin_parts.h"
#include "tensor/ops/attention.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/embedding.h"
#include "tensor/ops/rms_norm.h"

namespace eyrie::model {

using tensor::DType;
using tensor::Tensor;

// This context rank's columns of a batch, which is the batch itself where there is one.
BatchView Griffin::own_piece(const BatchView& batch, Workspace& workspace) const {
  const parallel::Part piece = piece_of(batch.length, share_.context);
  if (piece.count == batch.length) return batch;
  EYRIE_CHECK(piece.count >= kLeastPiece && batch.positions != nullptr,
              "a context rank's piece of a sequence is too short");
  const auto cut = [&](const auto* from) {
    using Value = std::remove_cvref_t<decltype(*from)>;
    auto* to = workspace.saved.allocate(tensor::dtype_of<Value>(), batch.sequences, piece.count)
                   .template as<Value>();
    for (std::int64_t s = 0; s < batch.sequences; ++s)
      std::copy_n(from + s * batch.length + piece.begin, piece.count, to + s * piece.count);
    return static_cast<const Value*>(to);
  };
  return {batch.sequences,    piece.count,          cut(batch.tokens),
          cut(batch.targets), cut(batch.positions), cut(batch.weight)};
}

// Positions, what each query sees, and the rotary angles: once a pass.
Pass Griffin::begin_pass(const Parameters& parameters, std::int64_t sequences, std::int64_t length,
                         const std::int32_t* positions, State* state, Workspace& workspace) const {
  const std::int64_t n = sequences * length, pairs = config_.head_dim() / 4;
  const auto ints = [&] { return workspace.saved.allocate(DType::kInt32, 1, n); };
  const auto angles = [&] { return workspace.saved.allocate(DType::kFloat32, n, pairs); };
  Pass pass{parameters, parameters.compute(), sequences,         length, ints(), {}, {}, angles(),
            angles(),   workspace.saved,      workspace.scratch, state};
  auto* place = pass.positions.as<std::int32_t>();
  for (std::int64_t at = 0; at < n; ++at) {
    const std::int64_t s = at / length, t = at % length;
    place[at] = positions != nullptr ? positions[at]
                : state != nullptr   ? static_cast<std::int32_t>(state->position(s) + t)
                                     : static_cast<std::int32_t>(t);
  }
  if (config_.layers.find_first_of("AG") != std::string::npos) {
    tensor::rope_angles(pass.positions, config_.head_dim(), pass.cosines, pass.sines);
  }
  return pass;
}

// `begin`: of this piece in its sequences.
void Griffin::see(Pass& pass, const std::int32_t* whole_positions, std::int64_t begin) const {
  const std::int64_t n = pass.tokens(), length = pass.length;
  const auto* place = pass.positions.as<std::int32_t>();
  const auto look = [&](Sight& sight, std::int64_t reach) {
    sight.past = std::min(begin, reach);
    for (std::int64_t s = 0; pass.state != nullptr && s < pass.sequences; ++s)
      sight.past = std::max(sight.past, std::min(pass.state->position(s), reach));
    sight.first_key = pass.saved.allocate(DType::kInt32, 1, n);
    auto* first = sight.first_key.as<std::int32_t>();
    for (std::int64_t at = 0; at < n; ++at) {
      const std::int64_t seen = std::min<std::int64_t>(place[at], reach);
      EYRIE_CHECK(place[at] >= 0 && sight.past + at % length - seen >= 0,
                  "a position before the start of its sequence");
      first[at] = static_cast<std::int32_t>(sight.past + at % length - seen);
    }
  };
  if (config_.layers.find('A') != std::string::npos) look(pass.local, config_.window);
  if (config_.layers.find('G') != std::string::npos) look(pass.global, GriffinConfig::kUnlimited);
  if (pass.context == nullptr) return;
  constexpr std::int64_t kNext = kLeastPiece;
  pass.next_place = pass.saved.allocate(DType::kInt32, 1, pass.sequences * kNext);
  for (std::int64_t i = 0; i < pass.sequences * kNext; ++i) {
    const std::int64_t t = begin + length + i % kNext;
    pass.next_place.as<std::int32_t>()[i] =
        t < pass.whole_length ? whole_positions[i / kNext * pass.whole_length + t] : 0;
  }
}

std::int64_t Griffin::stream_rows(const Pass& pass) const {
  if (!share_.sequence) return pass.tokens();
  return parallel::part_of(pass.tokens(), share_.tensor_ranks(), share_.tensor_rank()).count;
}

// All rows of what this rank has its part of.
Tensor Griffin::to_block(const Tensor& own, Pass& pass) const {
  if (!share_.sequence || share_.tensor_ranks() == 1) return own;
  const Tensor all = pass.scratch.allocate(own.dtype(), pass.tokens(), own.columns());
  parallel::all_gather_rows(*share_.tensor, own, all);
  return all;
}

// Where a block writes its terms that from_block() sums into `own`.
Tensor Griffin::block_output(const Tensor& own, Pass& pass) const {
  if (!share_.sequence || share_.tensor_ranks() == 1) return own;
  return pass.scratch.allocate(DType::kFloat32, pass.tokens(), own.columns());
}

void Griffin::from_block(const Tensor& terms, const Tensor& own, Pass& pass, DType wire) const {
  if (share_.tensor_ranks() == 1) return;
  if (share_.sequence) {
    parallel::reduce_scatter_rows(*share_.tensor, terms, own, wire, pass.scratch);
  } else {
    parallel::all_reduce_rows(*share_.tensor, own, wire, pass.scratch);
  }
}

// A block's two sub-blocks; each one's output is added to the residual stream by the norm that
// follows it. With `keeps` the tape can be walked back: every sum of the stream has memory of its
// own. Else the spare buffer and the last one take turns.
void Griffin::forward_block(std::size_t i, Stream& stream, Pass& pass, Tape& tape,
                            bool keeps) const {
  const Block& block = *blocks_[i];
  const UnitView view{pass.parameters, i + 1, nullptr, pass.decode};
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
  normed_sum(block.temporal_scale, tape.temporal_normed, tape.temporal_inverse);
  tape.x = stream.x;
  through(tape.temporal_normed, [&](const Tensor& x, const Tensor& y) {
    if (block.recurrent) {
      block.recurrent->forward(x, view, pass, tape.recurrent, y);
    } else {
      block.attention->forward(x, view, pass, tape.attention, y);
    }
  });
  normed_sum(block.channel_scale, tape.channel_normed, tape.channel_inverse);
  tape.middle = stream.x;
  through(tape.channel_normed,
          [&](const Tensor& x, const Tensor& y) { block.mlp.forward(x, view, pass, tape.mlp, y); });
}

// From the embedding to the final norm. A block's memory is kept for the backward pass, or released
// as soon as the next has its input: in inference, and in training with recomputation, which keeps
// that input alone.
Tensor Griffin::run(Pass& pass, const std::int32_t* tokens, std::vector<Tape>& tapes,
                    bool training) const {
  const std::int64_t n = pass.tokens(), width = config_.width, rows = stream_rows(pass);
  const bool keeps = training && !recompute_;
  const Tensor ids(const_cast<std::int32_t*>(tokens), DType::kInt32, 1, n);
  for (std::int64_t t = 0; t < n; ++t)
    EYRIE_CHECK(tokens[t] >= 0 && tokens[t] < config_.vocabulary,
                "a token outside of the model's vocabulary");
  const auto keep = [&](DType dtype) { return pass.saved.allocate(dtype, rows, width); };
  const DType fp32 = DType::kFloat32;
  Stream stream{keep(fp32), keep(fp32), {}, false};
  if (!keeps) stream.spare = keep(fp32);
  {
    tensor::ArenaScope scope(pass.scratch);
    const Tensor looked_up = block_output(stream.x, pass);
    tensor::embed(pass.parameters.weight(0, 0), ids, config_.embedding_scale(), looked_up,
                  sizes_.vocabulary.part.begin);
    // One rank has the row and the others zeros: in fp32 the sum is exact.
    from_block(looked_up, stream.x, pass, fp32);
  }
  tapes.resize(training ? blocks_.size() : 1);
  if (!training) pass.parameters.begin_pass();
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    Tape& tape = tapes[training ? i : 0];
    tape.before = pass.saved.mark();
    pass.parameters.enter(i + 1, i + 1 < blocks_.size() ? i + 2 : kNoUnit);
    if (training && recompute_) {
      const Tensor input = keep(fp32);
      tensor::copy(stream.x, input);
      if (stream.pending) tensor::add(stream.delta, input);
      const tensor::ArenaScope block(pass.saved);
      Tape forgotten;
      Stream inside{input, stream.delta, keep(fp32), false};
      forward_block(i, inside, pass, forgotten, false);
      tensor::copy(inside.x, stream.x);
      stream.pending = true;
      tape.x = input;
    } else {
      forward_block(i, stream, pass, tape, keeps);
      if (!training) pass.saved.release(tape.before);
    }
    pass.parameters.leave(i + 1);
  }
  const Tensor normed = keep(pass.compute), inverse_rms = pass.saved.allocate(fp32, 1, rows);
  const Tensor sum = keeps ? keep(fp32) : stream.spare;
  const Tensor scale = pass.parameters.weight(units_.size() - 1, 0);
  tensor::add_rms_norm(stream.x, stream.delta, sum, scale, normed, inverse_rms);
  if (training) {
    tapes.emplace_back();
    tapes.back().x = sum;
    tapes.back().temporal_inverse = inverse_rms;
  }
  return normed;
}

}  // namespace eyrie::model
