// Griffin: its table of parameters, inference, logits. (Passes: griffin_pass.cc; the loss:
// griffin_loss.cc.)
#include "model/griffin.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "model/griffin_parts.h"
#include "model/initialization.h"
#include "tensor/ops/elementwise.h"

namespace eyrie::model {

using tensor::DType;
using tensor::Tensor;

namespace {

int add_scale(const std::string& name, std::int64_t width, const ParallelContext& parallel_context,
              parallel::Unit& unit) {
  // With sequence parallelism a tensor rank's gradient covers its own tokens only: they are summed.
  const bool sum = parallel_context.sequence && parallel_context.tensor_ranks() > 1;
  return unit.add(
      {.name = name + "/scale",
       .shape = {width},
       .tensor_gradient = sum ? parallel::TensorGradient::kSum : parallel::TensorGradient::kOwn});
}

// Tokens or positions as the caller gave them, in host memory; empty if there are none.
Tensor host_ints(std::span<const std::int32_t> ints) {
  return {const_cast<std::int32_t*>(ints.data()), DType::kInt32, 1, std::ssize(ints)};
}

}  // namespace

Griffin::Block::Block(const GriffinConfig& config, const ParallelContext& parallel_context,
                      const LocalDims& dims, std::size_t layer, parallel::Unit& unit)
    : temporal_scale(
          add_scale(unit.name + "/temporal_pre_norm", config.width, parallel_context, unit)),
      channel_scale(
          add_scale(unit.name + "/channel_pre_norm", config.width, parallel_context, unit)),
      mlp(config, dims, unit.name + "/mlp_block", unit) {
  if (config.layers[layer] == 'R') {
    recurrent.emplace(config, dims, unit.name + "/recurrent_block", layer, unit);
  } else {
    attention.emplace(config, dims, unit.name + "/attention_block", layer, unit);
  }
}

Griffin::Griffin(const GriffinConfig& config, const ParallelContext& parallel_context)
    : config_(config),
      state_config_(config),
      parallel_context_(parallel_context),
      dims_(config, parallel_context.tensor_rank(), parallel_context.tensor_ranks()) {
  check(config_);
  check_tensor_ranks(config_, parallel_context.tensor_ranks());
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
    blocks_.push_back(
        std::make_shared<Block>(config_, parallel_context_, dims_, layer, units_.back()));
  }
  units_.push_back({.name = "final_norm"});
  add_scale("final_norm", config_.width, parallel_context_, units_.back());
}

Tensor Griffin::read(const Parameters& parameters, std::span<const std::int32_t> tokens,
                     std::int64_t length, State& state, Workspace& workspace,
                     const ReadOptions& options) const {
  EYRIE_CHECK(static_cast<std::int64_t>(tokens.size()) == state.sequences() * length &&
                  (options.lengths.empty() ||
                   static_cast<std::int64_t>(options.lengths.size()) == state.sequences()),
              "read: tokens for every sequence");
  workspace.restart();
  Pass pass = begin_pass(parameters, state.sequences(), length, host_ints(options.positions),
                         &state, workspace);
  pass.lengths = options.lengths;
  set_attention_bounds(pass, {}, 0);
  return read_pass(pass, tokens, options.positions, state);
}

Tensor Griffin::step(const Parameters& parameters, std::span<const std::int32_t> tokens,
                     State& state, Workspace& workspace) const {
  EYRIE_CHECK(static_cast<std::int64_t>(tokens.size()) == state.sequences(),
              "step: a token for every sequence");
  workspace.restart();
  Pass pass = begin_pass(parameters, state.sequences(), 1, {}, &state, workspace);
  pass.decode = true;
  set_attention_bounds(pass, {}, 0);
  return read_pass(pass, tokens, {}, state);
}

Tensor Griffin::read_pass(Pass& pass, std::span<const std::int32_t> tokens,
                          std::span<const std::int32_t> positions, State& state) const {
  std::vector<BlockActivations> block_activations;
  Tensor hidden = run(pass, pass.saved.on_device(host_ints(tokens)), block_activations, false);
  if (parallel_context_.sequence && parallel_context_.tensor_ranks() > 1) {
    const Tensor all = pass.keep(config_.width);
    parallel::all_gather_rows(*parallel_context_.tensor, hidden, all);
    hidden = all;
  }
  for (std::int64_t s = 0; s < pass.sequences; ++s) {
    const std::int64_t count = pass.length_of(s);
    if (count == 0) continue;
    const std::int64_t next =
        positions.empty() ? state.position(s) + count
                          : positions[static_cast<std::size_t>(s * pass.length + count - 1)] + 1;
    state.advance(s, count, next);
  }
  return hidden;
}

void Griffin::logits(const Parameters& parameters, const Tensor& hidden, const Tensor& out,
                     bool capped, bool decode) const {
  if (parallel_context_.tensor_ranks() == 1) {
    make_products({{hidden, {parameters.weight(0, 0), true}, {}, out}}, decode);
  } else {
    split_logits(parameters, hidden, out, decode);
  }
  if (capped && config_.soft_cap > 0) tensor::soft_cap(out, static_cast<float>(config_.soft_cap));
}

// All-gathers every rank's columns one after the other, then copies them side by side.
void Griffin::split_logits(const Parameters& parameters, const Tensor& hidden, const Tensor& out,
                           bool decode) const {
  const std::int64_t rows = hidden.rows(), ranks = parallel_context_.tensor_ranks();
  const auto part_of = [&](int rank) {
    return LocalDims(config_, rank, parallel_context_.tensor_ranks()).vocabulary.part;
  };
  const std::int64_t each = rows * part_of(0).count;  // the first slice is the longest
  const tensor::Buffer memory(static_cast<std::size_t>((ranks + 1) * each) * sizeof(float),
                              hidden.device());
  const Tensor all = memory.view(DType::kFloat32, ranks, each);
  const Tensor mine = memory.row().column_range(ranks * each, each);
  const auto columns = [&](const Tensor& row, std::int64_t count) {
    return row.column_range(0, rows * count).reshaped(rows, count);
  };
  const Tensor own = columns(mine, dims_.vocabulary.local());
  if (own.columns() > 0)
    make_products({{hidden, {parameters.weight(0, 0), true}, {}, own}}, decode);
  parallel::all_gather_rows(*parallel_context_.tensor, mine, all);
  for (int rank = 0; rank < ranks; ++rank) {
    const parallel::Part part = part_of(rank);
    tensor::copy(columns(all.row_range(rank, 1), part.count),
                 out.column_range(part.begin, part.count));
  }
}

}  // namespace eyrie::model
