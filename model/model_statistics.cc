// Counting parameters, state and FLOPs.
#include "model/model_statistics.h"

#include <algorithm>

namespace eyrie::model {
namespace {

using tensor::DType;

constexpr std::int64_t kFloat = 4;

std::int64_t count_layers(const GriffinConfig& config, char kind) {
  return std::count(config.layers.begin(), config.layers.end(), kind);
}

// How many keys the queries of a sequence see, summed over the queries.
double pairs(std::int64_t length, std::int64_t reach) {
  const auto partly = static_cast<double>(std::min(length, reach + 1));
  const auto fully = static_cast<double>(length) - partly;
  return partly * (partly + 1) / 2 + fully * static_cast<double>(reach + 1);
}

}  // namespace

std::int64_t ParameterKinds::all() const {
  return embedding + linear + convolution + gates + decay + attention + mlp + norms;
}

ParameterKinds parameter_kinds(const Griffin& griffin) {
  ParameterKinds kinds;
  for (const parallel::Unit& unit : griffin.units()) {
    for (const parallel::ParameterInfo& info : unit.parameters) {
      const auto has = [&](const char* part) { return info.name.find(part) != std::string::npos; };
      std::int64_t& kind = has("embedder/")          ? kinds.embedding
                           : has("/conv_1d/")        ? kinds.convolution
                           : has("_gate/")           ? kinds.gates
                           : has("/a_param")         ? kinds.decay
                           : has("recurrent_block/") ? kinds.linear
                           : has("attention_block/") ? kinds.attention
                           : has("mlp_block/")       ? kinds.mlp
                                                     : kinds.norms;
      kind += info.count();
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
    for (const parallel::ParameterInfo& info : unit.parameters) {
      if (info.product) flops.products += 6 * static_cast<double>(info.whole_count());
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

}  // namespace eyrie::model
