// Griffin: its table of parameters, and passes from the embedding to the final norm and back.
#include "model/griffin.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "model/initialization.h"
#include "tensor/ops/attention.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/embedding.h"
#include "tensor/ops/positions.h"
#include "tensor/ops/rms_norm.h"

namespace eyrie::model {

using tensor::DType;
using tensor::Tensor;

Griffin::Griffin(const GriffinConfig& config, const ParallelContext& context)
    : config_(config),
      state_config_(config),
      parallel_context_(context),
      dims_(config, context.tensor_rank(), context.tensor_ranks()),
      tensor_parallel_(context),
      lm_head_(config_, parallel_context_, dims_) {
  check(config_);
  check_tensor_ranks(config_, context.tensor_ranks());
  state_config_.rnn_width = dims_.rnn.local();
  units_.push_back({.name = "embedder"});
  units_.back().add({.name = "embedder/input_embedding",
                     .shape = {config_.vocabulary, config_.width},
                     .start = {dims_.vocabulary.part.begin, 0},
                     .extent = {dims_.vocabulary.local(), config_.width},
                     .initial_value = normal_value,
                     .deviation = std::sqrt(1.0 / static_cast<double>(config_.width)),
                     .product = true});
  for (std::size_t layer = 0; layer < config_.layers.size(); ++layer) {
    units_.push_back({.name = fmt::format("blocks.{}", layer)});
    blocks_.emplace_back(config_, parallel_context_, dims_, layer, units_.back());
  }
  units_.push_back({.name = "final_norm"});
  add_norm_scale("final_norm", config_.width, parallel_context_, units_.back());
}

// ---- The setup of a pass.

namespace {

// The piece of every sequence of `length` in a row (1, sequences · length), allocated in `arena`
// unless it is the whole row.
Tensor cut(const Tensor& row, std::int64_t sequences, std::int64_t length, parallel::Part piece,
           tensor::Arena& arena) {
  if (!row || piece.count == length) return arena.on_device(row);
  const Tensor own = arena.allocate(row.dtype(), sequences, piece.count);
  tensor::copy(row.reshaped(sequences, length).column_range(piece.begin, piece.count), own);
  return own.reshaped(1, own.count());
}

// Tokens or positions as the caller gave them, in host memory; empty if there are none.
Tensor host_ints(std::span<const std::int32_t> ints) {
  return {const_cast<std::int32_t*>(ints.data()), DType::kInt32, 1, std::ssize(ints)};
}

}  // namespace

Tensor ForwardPass::own_piece(const Tensor& row) const {
  return cut(row, pass.sequences, pass.whole_length, {piece_begin, pass.length}, pass.scratch);
}

// Sets up positions and rotary angles, once per pass.
Pass Griffin::begin_pass(const Parameters& parameters, std::int64_t sequences, std::int64_t length,
                         const Tensor& positions, State* state, Workspace& workspace,
                         std::vector<std::int64_t> starts) const {
  const std::int64_t n = starts.empty() ? sequences * length : starts.back(),
                     pairs = config_.head_dim() / 4;
  const auto angles = [&] { return workspace.saved.allocate(DType::kFloat32, n, pairs); };
  Pass pass{.parameters = parameters,
            .compute = parameters.compute_dtype(),
            .sequences = sequences,
            .length = length,
            .positions = workspace.saved.allocate(DType::kInt32, 1, n),
            .local = {},
            .global = {},
            .cosines = angles(),
            .sines = angles(),
            .saved = workspace.saved,
            .scratch = workspace.scratch,
            .state = state,
            .starts = std::move(starts),
            .whole_length = length};
  if (positions) {
    tensor::copy(positions, pass.positions);
  } else {
    std::vector<std::int64_t> from(static_cast<std::size_t>(sequences), 0);
    for (std::int64_t s = 0; state != nullptr && s < sequences; ++s)
      from[static_cast<std::size_t>(s)] = state->position(s);
    pass.by_length([&](std::int64_t s, std::int64_t count) {
      const auto some = std::span<const std::int64_t>(from).subspan(
          static_cast<std::size_t>(s), static_cast<std::size_t>(count));
      tensor::continue_positions(some, pass.places(pass.positions, s, count));
    });
  }
  if (config_.layers.find_first_of("AG") != std::string::npos)
    tensor::rope_angles(pass.positions, config_.head_dim(), pass.cosines, pass.sines);
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
    pass.by_length([&](std::int64_t s, std::int64_t count) {
      tensor::first_keys(pass.places(pass.positions, s, count), count, bounds.past, reach,
                         pass.places(bounds.first_key, s, count));
    });
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

// ---- Forward.

ForwardPass Griffin::forward(const Parameters& parameters, const TokenBatch& batch,
                             Workspace& workspace, bool keeps) const {
  workspace.restart();
  const parallel::Part piece = piece_of(batch.length, parallel_context_.context);
  const bool whole = piece.count == batch.length;
  EYRIE_CHECK(whole || (piece.count >= kLeastPiece && batch.positions),
              "a context rank's piece of a sequence is too short");
  const auto own = [&](const Tensor& row) {
    return cut(row, batch.sequences, batch.length, piece, workspace.saved);
  };
  const Tensor tokens = own(batch.tokens), positions = own(batch.positions);
  ForwardPass forward{
      .pass = begin_pass(parameters, batch.sequences, piece.count, positions, nullptr, workspace),
      .piece_begin = piece.begin,
      .tokens = tokens};
  forward.pass.whole_length = batch.length;
  if (!whole) forward.pass.context = parallel_context_.context;
  forward.pass.keeps_mlp = keeps && recompute_ != Recompute::kMlp;
  set_attention_bounds(forward.pass, batch.positions, piece.begin);
  run(forward, keeps);
  return forward;
}

// The stream's first value, and room for the first block's output; with `spare` room for sums.
ResidualStream Griffin::embedded(const ForwardPass& forward, Pass& pass, bool spare) const {
  const auto room = [&] {
    return pass.saved.allocate(DType::kFloat32, tensor_parallel_.stream_rows(pass), config_.width);
  };
  ResidualStream stream{.x = room(), .delta = room()};
  if (spare) stream.spare = room();
  const tensor::ArenaScope scope(pass.scratch);
  const Tensor looked_up = tensor_parallel_.partial_sums(stream.x, pass);
  const Weight table = pass.parameters.matrix(0, 0);
  if (table.scales) {
    tensor::embed_int8(table.tensor, table.scales, table.block, forward.tokens,
                       config_.embedding_scale(), looked_up);
  } else {
    tensor::embed(table.tensor, forward.tokens, config_.embedding_scale(), looked_up,
                  dims_.vocabulary.part.begin);
  }
  // One tensor rank has the embedding row, the others zeros: in fp32 the sum is exact.
  tensor_parallel_.reduce(looked_up, stream.x, pass, DType::kFloat32);
  return stream;
}

// A block's activations are kept for the backward pass, or released as soon as the next block has
// its input: in inference, and in training with recomputation, which keeps only that input.
void Griffin::run(ForwardPass& forward, bool keeps) const {
  Pass& pass = forward.pass;
  const bool again = keeps && recompute_ == Recompute::kBlocks, keeps_sums = keeps && !again;
  const auto keep = [&](DType dtype) {
    return pass.saved.allocate(dtype, tensor_parallel_.stream_rows(pass), config_.width);
  };
  EYRIE_CHECK(tensor::all_in_range(forward.tokens, config_.vocabulary),
              "a token outside of the model's vocabulary");
  ResidualStream stream = embedded(forward, pass, !keeps_sums);
  forward.blocks.resize(keeps ? blocks_.size() : 1);
  if (!keeps) pass.parameters.begin_pass();
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    ResidualBlock::Activations& activations = forward.blocks[keeps ? i : 0];
    const UnitView view{pass.parameters, i + 1, {}, pass.decode};
    activations.before = pass.saved.mark();
    pass.parameters.unshard(i + 1, i + 1 < blocks_.size() ? i + 2 : parallel::kNoUnit);
    if (again) {
      const Tensor input = keep(DType::kFloat32);
      tensor::copy(stream.x, input);
      if (stream.pending) tensor::add(stream.delta, input);
      const tensor::ArenaScope block(pass.saved);
      ResidualBlock::Activations forgotten;
      ResidualStream inside{.x = input, .delta = stream.delta, .spare = keep(DType::kFloat32)};
      blocks_[i].forward(inside, view, pass, forgotten, false);
      tensor::copy(inside.x, stream.x);
      stream.pending = true;
      activations.x = input;
    } else {
      blocks_[i].forward(stream, view, pass, activations, keeps_sums);
      if (!keeps) pass.saved.release(activations.before);
    }
    pass.parameters.reshard(i + 1);
  }
  forward.hidden = keep(pass.compute);
  forward.final_inverse = pass.saved.allocate(DType::kFloat32, 1, forward.hidden.rows());
  forward.final_sum = keeps_sums ? keep(DType::kFloat32) : stream.spare;
  tensor::add_rms_norm(stream.x, stream.delta, forward.final_sum,
                       pass.parameters.weight(units_.size() - 1, 0), forward.hidden,
                       forward.final_inverse);
}

// ---- Backward.

Tensor Griffin::hidden_gradient(ForwardPass& forward) const {
  return forward.pass.scratch.allocate(DType::kFloat32, forward.hidden.rows(), config_.width);
}

void Griffin::backward(ForwardPass& forward, const Tensor& dhidden, GradientSink& sink) const {
  Pass& pass = forward.pass;
  const Parameters& parameters = pass.parameters;
  const tensor::ArenaScope scope(pass.scratch);
  const std::int64_t rows = forward.hidden.rows(), width = config_.width;
  // From the last block back to the embedding.
  const Tensor d = pass.scratch.zeros(DType::kFloat32, rows, width);
  const StreamGradient gradient{
      d, pass.compute == DType::kFloat32 ? d : pass.scratch.allocate(pass.compute, rows, width),
      dhidden};
  const std::size_t last = units_.size() - 1;
  const UnitView final_norm{parameters, last, sink.gradient(last)};
  tensor::rms_norm_backward(dhidden, forward.final_sum, final_norm.weight(0), forward.final_inverse,
                            d, final_norm.gradient(0), gradient.rounds_to());
  sink.finished(last);
  for (std::size_t i = blocks_.size(); i-- > 0;) {
    ResidualBlock::Activations& activations = forward.blocks[i];
    const UnitView view{parameters, i + 1, sink.gradient(i + 1)};
    parameters.unshard(i + 1, i > 0 ? i : parallel::kNoUnit);
    if (recompute_ == Recompute::kBlocks) {
      ResidualStream again{.x = activations.x,
                           .delta = pass.saved.allocate(DType::kFloat32, rows, width)};
      blocks_[i].forward(again, view, pass, activations, true);
    }
    blocks_[i].backward(gradient, view, pass, activations);
    parameters.reshard(i + 1);
    pass.saved.release(activations.before);
    sink.finished(i + 1);
  }
  tensor::embed_backward(tensor_parallel_.all_rows(d, pass), forward.tokens,
                         config_.embedding_scale(), table_in(sink.gradient(0)),
                         dims_.vocabulary.part.begin);
  sink.finished(0);
}

// ---- Inference.

Tensor Griffin::prefill(const Parameters& parameters, std::span<const std::int32_t> tokens,
                        std::int64_t length, State& state, Workspace& workspace,
                        const PrefillOptions& options) const {
  std::vector<std::int64_t> starts;
  if (!options.lengths.empty()) starts.push_back(0);
  for (const std::int64_t count : options.lengths) starts.push_back(starts.back() + count);
  EYRIE_CHECK(starts.empty() ? std::ssize(tokens) == state.sequences() * length
                             : std::ssize(starts) == state.sequences() + 1 &&
                                   std::ssize(tokens) == starts.back(),
              "prefill: tokens for every sequence");
  workspace.restart();
  Pass pass = begin_pass(parameters, state.sequences(), length, host_ints(options.positions),
                         &state, workspace, std::move(starts));
  return inference_pass(pass, tokens, options.positions, state);
}

Tensor Griffin::decode_step(const Parameters& parameters, std::span<const std::int32_t> tokens,
                            State& state, Workspace& workspace) const {
  EYRIE_CHECK(static_cast<std::int64_t>(tokens.size()) == state.sequences(),
              "decode_step: a token for every sequence");
  workspace.restart();
  Pass pass = begin_pass(parameters, state.sequences(), 1, {}, &state, workspace);
  pass.decode = true;
  return inference_pass(pass, tokens, {}, state);
}

Tensor Griffin::inference_pass(Pass& pass, std::span<const std::int32_t> tokens,
                               std::span<const std::int32_t> positions, State& state) const {
  set_attention_bounds(pass, {}, 0);
  ForwardPass forward{.pass = pass, .tokens = pass.saved.on_device(host_ints(tokens))};
  run(forward, false);
  Tensor hidden = forward.hidden;
  if (parallel_context_.sequence && parallel_context_.tensor_ranks() > 1) {
    hidden = pass.keep(config_.width);
    parallel::all_gather_rows(*parallel_context_.tensor, forward.hidden, hidden);
  }
  for (std::int64_t s = 0; s < pass.sequences; ++s) {
    const std::int64_t count = pass.length_of(s);
    if (count == 0) continue;
    const std::int64_t next = positions.empty()
                                  ? state.position(s) + count
                                  : positions[static_cast<std::size_t>(pass.row_of(s + 1) - 1)] + 1;
    state.advance(s, count, next);
  }
  return hidden;
}

}  // namespace eyrie::model
