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
  Pass pass =
      begin_pass(parameters, state.sequences(), length, options.positions, &state, workspace);
  pass.lengths = options.lengths;
  set_attention_bounds(pass, nullptr, 0);
  return read_pass(pass, tokens.data(), state);
}

Tensor Griffin::step(const Parameters& parameters, std::span<const std::int32_t> tokens,
                     State& state, Workspace& workspace) const {
  EYRIE_CHECK(static_cast<std::int64_t>(tokens.size()) == state.sequences(),
              "step: a token for every sequence");
  workspace.restart();
  Pass pass = begin_pass(parameters, state.sequences(), 1, nullptr, &state, workspace);
  pass.decode = true;
  set_attention_bounds(pass, nullptr, 0);
  return read_pass(pass, tokens.data(), state);
}

Tensor Griffin::read_pass(Pass& pass, const std::int32_t* tokens, State& state) const {
  std::vector<BlockActivations> block_activations;
  Tensor hidden = run(pass, tokens, block_activations, false);
  if (parallel_context_.sequence && parallel_context_.tensor_ranks() > 1) {
    const Tensor all = pass.keep(config_.width);
    parallel::all_gather_rows(*parallel_context_.tensor, hidden, all);
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
  const std::int64_t rows = hidden.rows();
  const std::int64_t widest = LocalDims(config_, 0, parallel_context_.tensor_ranks())
                                  .vocabulary.local();  // the first slice is the longest
  std::vector<float> mine(static_cast<std::size_t>(rows * widest)),
      all(mine.size() * static_cast<std::size_t>(parallel_context_.tensor_ranks()));
  const Tensor own(mine.data(), DType::kFloat32, rows, dims_.vocabulary.local());
  if (own.columns() > 0)
    make_products({{hidden, {parameters.weight(0, 0), true}, {}, own}}, decode);
  parallel::all_gather_rows(
      *parallel_context_.tensor, {mine.data(), DType::kFloat32, 1, rows * widest},
      {all.data(), DType::kFloat32, parallel_context_.tensor_ranks(), rows * widest});
  for (int rank = 0; rank < parallel_context_.tensor_ranks(); ++rank) {
    const parallel::Part part =
        LocalDims(config_, rank, parallel_context_.tensor_ranks()).vocabulary.part;
    const float* from = all.data() + rank * rows * widest;
    for (std::int64_t r = 0; r < rows; ++r)
      std::copy_n(from + r * part.count, part.count, out.f32() + r * out.stride() + part.begin);
  }
}

double Griffin::flops_per_token(std::int64_t length) const {
  const auto embedding = static_cast<double>(config_.vocabulary * config_.width);
  const double rest = static_cast<double>(whole_parameter_count(units_)) - embedding;
  double keys = 0;  // summed over attention layers and positions
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
