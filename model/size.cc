// Counting parameters, state, FLOPs and memory.
#include "model/size.h"

#include <algorithm>

namespace eyrie::model {
namespace {

using tensor::DType;

constexpr std::int64_t kFloat = 4;

std::int64_t count_layers(const GriffinConfig& config, char kind) {
  return std::count(config.layers.begin(), config.layers.end(), kind);
}

// Keys that the queries of a sequence see, summed over them.
double pairs(std::int64_t length, std::int64_t reach) {
  const auto partly = static_cast<double>(std::min(length, reach + 1));
  const auto fully = static_cast<double>(length) - partly;
  return partly * (partly + 1) / 2 + fully * static_cast<double>(reach + 1);
}

// Buffers of one gradient that GradientAccumulator holds at once: one a level of the binary tree,
// and one more for finished groups where the number of micro-shards is no power of two.
std::int64_t gradient_buffers(std::int64_t micro_shards) {
  std::int64_t levels = 1, group = micro_shards & -micro_shards;
  for (std::int64_t size = group; size > 1; size /= 2) ++levels;
  return levels + (group != micro_shards ? 1 : 0);
}

// What a layer keeps for each token, in bytes; `c` is the size of a compute element.
std::int64_t kept_a_token(const GriffinConfig& config, std::size_t layer, std::int64_t c) {
  const std::int64_t width = config.width;
  // Two norms: their output, 1/rms, and the sum of the residual stream that they are of (the first
  // norm of all is of the embedding).
  std::int64_t kept =
      2 * (width * c + kFloat) + (layer == 0 ? 1 : 2) * width * kFloat + 3 * config.mlp_width * c;
  if (config.is_attention(layer)) {
    kept += (2 * width + 2 * config.head_dim()) * c + config.heads * kFloat;
  } else {
    kept += config.rnn_width * (5 * c + 2 * kFloat);
  }
  return kept;
}

// What the backward pass of a layer needs beside, in bytes.
std::int64_t backward_bytes(const GriffinConfig& config, std::size_t layer,
                            const TrainingShape& shape, std::int64_t c) {
  const std::int64_t n = shape.sequences * shape.length, width = config.width;
  const std::int64_t mlp = n * 3 * config.mlp_width * c;
  if (!config.is_attention(layer))
    return std::max(mlp, n * config.rnn_width * (5 * c + 2 * kFloat));
  const std::int64_t dim = config.head_dim();
  std::int64_t attention = n * (width * (c + kFloat) + 2 * dim * kFloat);
  // Scores of one tile of queries and their gradients; or afterwards the rotated gradients.
  const std::int64_t queries =
      std::min(shape.length, std::clamp<std::int64_t>(256 / config.heads, 8, 128));
  const std::int64_t span = std::min(shape.length, queries + config.reach(layer));
  const std::int64_t tile = queries * config.heads * span * 2 * (c == kFloat ? kFloat : kFloat + c);
  attention += std::max(tile, n * (width + 2 * dim) * c);
  return std::max(mlp, attention);
}

}  // namespace

std::int64_t ParameterKinds::all() const {
  return embedding + linear + convolution + gates + decay + attention + mlp + norms;
}

ParameterKinds parameter_kinds(const Griffin& griffin) {
  ParameterKinds kinds;
  for (const parallel::Unit& unit : griffin.units()) {
    for (const parallel::ParameterRow& row : unit.rows) {
      const auto has = [&](const char* part) { return row.name.find(part) != std::string::npos; };
      std::int64_t& kind = has("embedder/")          ? kinds.embedding
                           : has("/conv_1d/")        ? kinds.convolution
                           : has("_gate/")           ? kinds.gates
                           : has("/a_param")         ? kinds.decay
                           : has("recurrent_block/") ? kinds.linear
                           : has("attention_block/") ? kinds.attention
                           : has("mlp_block/")       ? kinds.mlp
                                                     : kinds.norms;
      kind += row.count();
    }
  }
  return kinds;
}

StateBytes state_bytes(const GriffinConfig& config, DType compute) {
  const std::int64_t c = size_of(compute), a_key = 2 * config.head_dim() * c;
  return {count_layers(config, 'R') * config.rnn_width * (kFloat + 3 * c) +
              count_layers(config, 'A') * (config.window + 1) * a_key,
          count_layers(config, 'G') * a_key};
}

TokenFlops token_flops(const Griffin& griffin, std::int64_t length) {
  const GriffinConfig& config = griffin.config();
  TokenFlops flops;
  for (const parallel::Unit& unit : griffin.units()) {
    for (const parallel::ParameterRow& row : unit.rows) {
      if (row.product) flops.products += 6 * static_cast<double>(row.count());
    }
  }
  for (std::size_t layer = 0; layer < config.layers.size(); ++layer) {
    if (config.is_attention(layer)) {
      flops.attention += 12 * static_cast<double>(config.width) *
                         pairs(length, config.reach(layer)) / static_cast<double>(length);
    } else {
      flops.recurrence += 36 * static_cast<double>(config.rnn_width);
    }
  }
  return flops;
}

std::int64_t TrainingBytes::all() const {
  return masters + copies + gradients + moments + activations + std::max(logits, backward) +
         exchange;
}

TrainingBytes training_bytes(const Griffin& griffin, const TrainingShape& shape) {
  const GriffinConfig& config = griffin.config();
  const std::int64_t c = size_of(shape.compute), n = shape.sequences * shape.length;
  const std::int64_t width = config.width, vocabulary = config.vocabulary;
  const bool copied = shape.compute != DType::kFloat32;
  TrainingBytes bytes;
  for (const parallel::Unit& unit : griffin.units()) {
    bytes.masters += unit.size * kFloat;
    if (copied) bytes.copies += unit.size * c;
    bytes.gradients += unit.size * kFloat * gradient_buffers(shape.micro_shards);
    bytes.moments += 2 * unit.size * kFloat / shape.ranks;
  }
  // Positions, first keys and rotary angles; embedding and the output of a block; the final norm.
  bytes.activations =
      n * (2 * 4 + 2 * config.head_dim() / 4 * kFloat + 2 * width * kFloat + width * (c + kFloat));
  for (std::size_t layer = 0; layer < config.layers.size(); ++layer) {
    bytes.activations += n * kept_a_token(config, layer, c);
    bytes.backward = std::max(bytes.backward, backward_bytes(config, layer, shape, c));
  }
  // The residual stream's gradient, its rounded copy, and a block's output gradient.
  const std::int64_t stream = n * width * kFloat;
  bytes.backward += 2 * stream + (copied ? n * width * c : 0);
  const std::int64_t rows = std::min(n, logit_rows(vocabulary));
  bytes.logits = stream + rows * vocabulary * (copied ? kFloat + c : kFloat);
  bytes.exchange = (shape.ranks - 1) * (std::int64_t{2} << 20);
  return bytes;
}

}  // namespace eyrie::model
