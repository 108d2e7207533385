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

int add_scale(const std::string& name, std::int64_t width, parallel::Unit& unit) {
  return unit.add({.name = name + "/scale", .shape = {width}});
}

}  // namespace

struct Griffin::Block {
  Block(const GriffinConfig& config, std::size_t layer, parallel::Unit& unit)
      : temporal_scale(add_scale(unit.name + "/temporal_pre_norm", config.width, unit)),
        channel_scale(add_scale(unit.name + "/channel_pre_norm", config.width, unit)),
        mlp(config, unit.name + "/mlp_block", unit) {
    if (config.layers[layer] == 'R') {
      recurrent.emplace(config, unit.name + "/recurrent_block", layer, unit);
    } else {
      attention.emplace(config, unit.name + "/attention_block", layer, unit);
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

Griffin::Griffin(const GriffinConfig& config) : config_(config) {
  check(config_);
  units_.push_back({.name = "embedder"});
  units_.back().add({.name = "embedder/input_embedding",
                     .shape = {config_.vocabulary, config_.width},
                     .init = Init::kNormal,
                     .deviation = std::sqrt(1.0 / static_cast<double>(config_.width)),
                     .product = true});
  for (std::size_t layer = 0; layer < config_.layers.size(); ++layer) {
    units_.push_back({.name = fmt::format("blocks.{}", layer)});
    blocks_.push_back(std::make_shared<Block>(config_, layer, units_.back()));
  }
  units_.push_back({.name = "final_norm"});
  add_scale("final_norm", config_.width, units_.back());
}

// The blocks from the embedding to the final norm. Each sub-block's output is added to the residual
// stream by the norm that follows it. Without training a block's memory is released as soon as the
// next has its input.
Tensor Griffin::run(Pass& pass, const std::int32_t* tokens, std::vector<Tape>& tapes,
                    bool training) const {
  const std::int64_t n = pass.tokens(), width = config_.width;
  const Tensor ids(const_cast<std::int32_t*>(tokens), DType::kInt32, 1, n);
  const auto inverse = [&] { return pass.saved.allocate(DType::kFloat32, 1, n); };
  // In inference these two buffers take turns as the residual stream; in training every block keeps
  // its own.
  Tensor stream = pass.keep_fp32(width), delta = pass.keep_fp32(width), spare;
  if (!training) spare = pass.keep_fp32(width);
  tensor::embed(pass.parameters.weight(0, 0), ids, config_.embedding_scale(), stream);
  bool pending = false;  // `delta` is still to be added to `stream`
  tapes.resize(training ? blocks_.size() : 1);
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    const Block& block = *blocks_[i];
    Tape& tape = tapes[training ? i : 0];
    const UnitView view{pass.parameters, i + 1, nullptr, pass.decode};
    tape.before = pass.saved.mark();
    const auto normed_sum = [&](int scale, Tensor& normed, Tensor& inverse_rms) {
      normed = pass.keep(width);
      inverse_rms = inverse();
      if (pending) {
        const Tensor sum = training ? pass.keep_fp32(width) : spare;
        tensor::add_rms_norm(stream, delta, sum, view.weight(scale), normed, inverse_rms);
        if (!training) spare = stream;
        stream = sum;
      } else {
        tensor::rms_norm(stream, view.weight(scale), normed, inverse_rms);
      }
      pending = true;
    };
    normed_sum(block.temporal_scale, tape.temporal_normed, tape.temporal_inverse);
    tape.x = stream;
    if (block.recurrent) {
      block.recurrent->forward(tape.temporal_normed, view, pass, tape.recurrent, delta);
    } else {
      block.attention->forward(tape.temporal_normed, view, pass, tape.attention, delta);
    }
    normed_sum(block.channel_scale, tape.channel_normed, tape.channel_inverse);
    tape.middle = stream;
    block.mlp.forward(tape.channel_normed, view, pass, tape.mlp, delta);
    if (!training) pass.saved.release(tape.before);
  }
  const Tensor normed = pass.keep(width), inverse_rms = inverse();
  const Tensor sum = training ? pass.keep_fp32(width) : spare;
  const Tensor scale = pass.parameters.weight(units_.size() - 1, 0);
  tensor::add_rms_norm(stream, delta, sum, scale, normed, inverse_rms);
  if (training) {
    tapes.emplace_back();
    tapes.back().x = sum;
    tapes.back().temporal_inverse = inverse_rms;
  }
  return normed;
}

namespace {

// Positions, what each query sees, and the rotary angles: once a pass.
Pass begin_pass(const GriffinConfig& config, const Parameters& parameters, std::int64_t sequences,
                std::int64_t length, const std::int32_t* positions, State* state,
                Workspace& workspace) {
  workspace.saved.release({});
  workspace.scratch.release({});
  const std::int64_t n = sequences * length, pairs = config.head_dim() / 4;
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
  const auto look = [&](Sight& sight, std::int64_t reach) {
    for (std::int64_t s = 0; state != nullptr && s < sequences; ++s)
      sight.past = std::max(sight.past, std::min(state->position(s), reach));
    sight.first_key = ints();
    auto* first = sight.first_key.as<std::int32_t>();
    for (std::int64_t at = 0; at < n; ++at) {
      const std::int64_t seen = std::min<std::int64_t>(place[at], reach);
      EYRIE_CHECK(place[at] >= 0 && sight.past + at % length - seen >= 0,
                  "a position before the start of its sequence");
      first[at] = static_cast<std::int32_t>(sight.past + at % length - seen);
    }
  };
  if (config.layers.find('A') != std::string::npos) look(pass.local, config.window);
  if (config.layers.find('G') != std::string::npos) look(pass.global, GriffinConfig::kUnlimited);
  if (config.layers.find_first_of("AG") != std::string::npos) {
    tensor::rope_angles(pass.positions, config.head_dim(), pass.cosines, pass.sines);
  }
  return pass;
}

}  // namespace

// Loss, and with `gradients` (the embedding unit's buffer) also its gradient and that of hidden,
// chunk by chunk.
double Griffin::head(Pass& pass, const Tensor& hidden, const BatchView& batch, float gradient_scale,
                     float* gradients, const Tensor& dhidden, std::vector<float>* nll_out) const {
  tensor::ArenaScope scope(pass.scratch);
  const std::int64_t n = pass.tokens(), vocabulary = config_.vocabulary;
  const std::int64_t rows = std::min(n, logit_rows(vocabulary));
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
    tensor::cross_entropy(out, targets.column_range(begin, count),
                          weight.column_range(begin, count), static_cast<float>(config_.soft_cap),
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

double Griffin::run_loss(const Parameters& parameters, const BatchView& batch, Workspace& workspace,
                         float gradient_scale, GradientSink* sink, std::vector<float>* nll) const {
  Pass pass = begin_pass(config_, parameters, batch.sequences, batch.length, batch.positions,
                         nullptr, workspace);
  const std::int64_t n = pass.tokens(), width = config_.width;
  if (n == 0) return 0;
  std::vector<Tape> tapes;
  const Tensor hidden = run(pass, batch.tokens, tapes, sink != nullptr);
  if (sink == nullptr) return head(pass, hidden, batch, 0, nullptr, {}, nll);

  float* embedding_gradient = sink->gradient(0);
  tensor::ArenaScope scope(pass.scratch);
  const Tensor dnormed = pass.scratch.allocate(DType::kFloat32, n, width);
  const double total = head(pass, hidden, batch, gradient_scale, embedding_gradient, dnormed, nll);

  // d: the gradient of the residual stream, from the end to the embedding. It is rounded to
  // `product` where a matrix product reads it.
  const Tensor d = pass.scratch.zeros(DType::kFloat32, n, width);
  const Tensor product =
      pass.compute == DType::kFloat32 ? d : pass.scratch.allocate(pass.compute, n, width);
  const auto to_product = [&] {
    if (pass.compute != DType::kFloat32) tensor::convert(d, product);
  };
  const auto norm_backward = [&](const UnitView& view, int scale, const Tensor& x,
                                 const Tensor& inverse) {
    tensor::rms_norm_backward(dnormed, x, view.weight(scale), inverse, d, view.gradient(scale));
  };
  const std::size_t last = units_.size() - 1;
  norm_backward({parameters, last, sink->gradient(last)}, 0, tapes.back().x,
                tapes.back().temporal_inverse);
  sink->finished(last);
  for (std::size_t i = blocks_.size(); i-- > 0;) {
    const Block& block = *blocks_[i];
    const Tape& tape = tapes[i];
    const UnitView view{parameters, i + 1, sink->gradient(i + 1)};
    to_product();
    block.mlp.backward(product, tape.channel_normed, view, pass, tape.mlp, dnormed);
    norm_backward(view, block.channel_scale, tape.middle, tape.channel_inverse);
    to_product();
    if (block.recurrent) {
      block.recurrent->backward(product, tape.temporal_normed, view, pass, tape.recurrent, dnormed);
    } else {
      block.attention->backward(product, tape.temporal_normed, view, pass, tape.attention, dnormed);
    }
    norm_backward(view, block.temporal_scale, tape.x, tape.temporal_inverse);
    pass.saved.release(tape.before);
    sink->finished(i + 1);
  }
  const Tensor ids(const_cast<std::int32_t*>(batch.tokens), DType::kInt32, 1, n);
  tensor::embed_backward(d, ids, config_.embedding_scale(),
                         row_of(units_[0].rows[0], embedding_gradient));
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
  Pass pass = begin_pass(config_, parameters, state.sequences(), length, options.positions, &state,
                         workspace);
  pass.lengths = options.lengths;
  return read_pass(pass, tokens.data(), state);
}

Tensor Griffin::step(const Parameters& parameters, std::span<const std::int32_t> tokens,
                     State& state, Workspace& workspace) const {
  EYRIE_CHECK(static_cast<std::int64_t>(tokens.size()) == state.sequences(),
              "step: a token for every sequence");
  Pass pass = begin_pass(config_, parameters, state.sequences(), 1, nullptr, &state, workspace);
  pass.decode = true;
  return read_pass(pass, tokens.data(), state);
}

Tensor Griffin::read_pass(Pass& pass, const std::int32_t* tokens, State& state) const {
  std::vector<Tape> tapes;
  const Tensor hidden = run(pass, tokens, tapes, false);
  const auto* place = pass.positions.as<std::int32_t>();
  for (std::int64_t s = 0; s < pass.sequences; ++s) {
    const std::int64_t count = pass.length_of(s);
    if (count > 0) state.advance(s, count, place[s * pass.length + count - 1] + 1);
  }
  return hidden;
}

void Griffin::logits(const Parameters& parameters, const Tensor& hidden, const Tensor& out,
                     bool capped, bool decode) const {
  make_products({{hidden, {parameters.weight(0, 0), true}, {}, out}}, decode);
  if (capped && config_.soft_cap > 0) tensor::soft_cap(out, static_cast<float>(config_.soft_cap));
}

double Griffin::flops_per_token(std::int64_t length) const {
  const auto embedding = static_cast<double>(config_.vocabulary * config_.width);
  const double rest = static_cast<double>(parameter_count(units_)) - embedding;
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
