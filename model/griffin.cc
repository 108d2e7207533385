// Griffin: embedding, blocks, final norm, tied output layer; forward and backward.
#include "model/griffin.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "tensor/ops/attention.h"
#include "tensor/ops/cross_entropy.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/embedding.h"
#include "tensor/ops/matmul.h"
#include "tensor/ops/rms_norm.h"

namespace eyrie::model {

using parallel::Init;
using tensor::DType;
using tensor::Tensor;

namespace {

int add_scale(const std::string& name, std::int64_t width, const Share& share,
              parallel::Unit& unit) {
  // Split along the sequence, a rank's gradient is of its own tokens.
  const bool sum = share.sequence && share.tensor_ranks() > 1;
  return unit.add(
      {.name = name + "/scale",
       .shape = {width},
       .tensor_gradient = sum ? parallel::TensorGradient::kSum : parallel::TensorGradient::kOwn});
}

}  // namespace

struct Griffin::Block {
  Block(const GriffinConfig& config, const Share& share, const Sizes& sizes, std::size_t layer,
        parallel::Unit& unit)
      : temporal_scale(add_scale(unit.name + "/temporal_pre_norm", config.width, share, unit)),
        channel_scale(add_scale(unit.name + "/channel_pre_norm", config.width, share, unit)),
        mlp(config, sizes, unit.name + "/mlp_block", unit) {
    if (config.layers[layer] == 'R') {
      recurrent.emplace(config, sizes, unit.name + "/recurrent_block", layer, unit);
    } else {
      attention.emplace(config, sizes, unit.name + "/attention_block", layer, unit);
    }
  }
  int temporal_scale, channel_scale;
  MlpBlock mlp;
  std::optional<RecurrentBlock> recurrent;
  std::optional<AttentionBlock> attention;
};

struct Griffin::Tape {
  tensor::Arena::Mark
      before;  // of the saved arena: released when the block's backward pass is done
  Tensor x, temporal_normed, temporal_inverse;     // the block's input and its norm
  Tensor middle, channel_normed, channel_inverse;  // after the temporal sub-block
  RecurrentBlock::Saved recurrent;
  AttentionBlock::Saved attention;
  MlpBlock::Saved mlp;
};

struct Griffin::Stream {
  Tensor x, delta, spare;  // x + delta where `pending`, else x; fp32
  bool pending;
};

Griffin::Griffin(const GriffinConfig& config, const Share& share)
    : config_(config),
      state_config_(config),
      share_(share),
      sizes_(config, share.tensor_rank(), share.tensor_ranks()) {
  check(config_);
  check_tensor_ranks(config_, share.tensor_ranks());
  state_config_.rnn_width = sizes_.rnn.own();
  units_.push_back({.name = "embedder"});
  units_.back().add({.name = "embedder/input_embedding",
                     .shape = {config_.vocabulary, config_.width},
                     .start = {sizes_.vocabulary.part.begin, 0},
                     .extent = {sizes_.vocabulary.own(), config_.width},
                     .init = Init::kNormal,
                     .deviation = std::sqrt(1.0 / static_cast<double>(config_.width)),
                     .product = true});
  for (std::size_t layer = 0; layer < config_.layers.size(); ++layer) {
    units_.push_back({.name = fmt::format("blocks.{}", layer)});
    blocks_.push_back(std::make_shared<Block>(config_, share_, sizes_, layer, units_.back()));
  }
  units_.push_back({.name = "final_norm"});
  add_scale("final_norm", config_.width, share_, units_.back());
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
  parallel::all_gather_small(*share_.tensor, sums, all);
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

Tensor Griffin::read(const Parameters& parameters, std::span<const std::int32_t> tokens,
                     std::int64_t length, State& state, Workspace& workspace,
                     const ReadOptions& options) const {
  EYRIE_CHECK(static_cast<std::int64_t>(tokens.size()) == state.sequences() * length &&
                  (options.lengths.empty() ||
                   static_cast<std::int64_t>(options.lengths.size()) == state.sequences()),
              "read: tokens for every sequence");
  workspace.restart();
  Pass pass =
      begin_pass(parameters, state.sequences(), length, options.positions, &state, workspace);
  pass.lengths = options.lengths;
  see(pass, nullptr, 0);
  return read_pass(pass, tokens.data(), state);
}

Tensor Griffin::step(const Parameters& parameters, std::span<const std::int32_t> tokens,
                     State& state, Workspace& workspace) const {
  EYRIE_CHECK(static_cast<std::int64_t>(tokens.size()) == state.sequences(),
              "step: a token for every sequence");
  workspace.restart();
  Pass pass = begin_pass(parameters, state.sequences(), 1, nullptr, &state, workspace);
  pass.decode = true;
  see(pass, nullptr, 0);
  return read_pass(pass, tokens.data(), state);
}

Tensor Griffin::read_pass(Pass& pass, const std::int32_t* tokens, State& state) const {
  std::vector<Tape> tapes;
  Tensor hidden = run(pass, tokens, tapes, false);
  if (share_.sequence && share_.tensor_ranks() > 1) {
    const Tensor all = pass.keep(config_.width);
    parallel::all_gather_rows(*share_.tensor, hidden, all);
    hidden = all;
  }
  const auto* place = pass.positions.as<std::int32_t>();
  for (std::int64_t s = 0; s < pass.sequences; ++s) {
    const std::int64_t count = pass.length_of(s);
    if (count > 0) state.advance(s, count, place[s * pass.length + count - 1] + 1);
  }
  return hidden;
}

void Griffin::logits(const Parameters& parameters, const Tensor& hidden, const Tensor& out,
                     bool capped, bool decode) const {
  if (share_.tensor_ranks() == 1) {
    make_products({{hidden, {parameters.weight(0, 0), true}, {}, out}}, decode);
  } else {
    split_logits(parameters, hidden, out, decode);
  }
  if (capped && config_.soft_cap > 0) tensor::soft_cap(out, static_cast<float>(config_.soft_cap));
}

// Every rank's columns travel as rows of their own, and are then put side by side.
void Griffin::split_logits(const Parameters& parameters, const Tensor& hidden, const Tensor& out,
                           bool decode) const {
  const std::int64_t rows = hidden.rows();
  const std::int64_t widest =
      Sizes(config_, 0, share_.tensor_ranks()).vocabulary.own();  // the first slice is the longest
  std::vector<float> mine(static_cast<std::size_t>(rows * widest)),
      all(mine.size() * static_cast<std::size_t>(share_.tensor_ranks()));
  const Tensor own(mine.data(), DType::kFloat32, rows, sizes_.vocabulary.own());
  if (own.columns() > 0)
    make_products({{hidden, {parameters.weight(0, 0), true}, {}, own}}, decode);
  parallel::all_gather_small(*share_.tensor, {mine.data(), DType::kFloat32, 1, rows * widest},
                             {all.data(), DType::kFloat32, share_.tensor_ranks(), rows * widest});
  for (int rank = 0; rank < share_.tensor_ranks(); ++rank) {
    const parallel::Part part = Sizes(config_, rank, share_.tensor_ranks()).vocabulary.part;
    const float* from = all.data() + rank * rows * widest;
    for (std::int64_t r = 0; r < rows; ++r)
      std::copy_n(from + r * part.count, part.count, out.f32() + r * out.stride() + part.begin);
  }
}

double Griffin::flops_per_token(std::int64_t length) const {
  const auto embedding = static_cast<double>(config_.vocabulary * config_.width);
  const double rest = static_cast<double>(whole_parameter_count(units_)) - embedding;
  double keys = 0;  // summed over attention layers and places
  for (std::size_t layer = 0; layer < config_.layers.size(); ++layer) {
    if (!config_.is_attention(layer)) continue;
    for (std::int64_t t = 1; t <= length; ++t)
      keys += static_cast<double>(std::min(t, config_.reach(layer) + 1));
  }
  return 6 * rest + 6 * embedding +
         12 * static_cast<double>(config_.width) * keys /
             static_cast<double>(std::max<std::int64_t>(length, 1));
}

}  // namespace eyrie::model
