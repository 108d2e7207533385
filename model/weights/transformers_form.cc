// Rewrites other Griffin models as RecurrentGemmas.
#include "model/weights/transformers_form.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"

namespace eyrie::model {
namespace {

constexpr double kSoftCap = 1048576;  // 2^20: dividing by it and multiplying with it is exact
constexpr std::int64_t kWindow = std::int64_t{1} << 30;

bool has(const GriffinConfig& config, char layer) {
  return config.layers.find(layer) != std::string::npos;
}
bool has_attention(const GriffinConfig& config) { return has(config, 'A') || has(config, 'G'); }

GriffinConfig adapted(const GriffinConfig& before) {
  GriffinConfig config = before;
  if (config.soft_cap == 0) config.soft_cap = kSoftCap;
  config.scale_embedding = true;
  if (has(config, 'G')) {
    std::replace(config.layers.begin(), config.layers.end(), 'G', 'A');
    config.window = kWindow;
  }
  if (!has_attention(config)) {
    config.heads = config.gate_blocks;
  } else {
    config.gate_blocks = config.heads;
  }
  return config;
}

class AdaptedWeights final : public WeightSource {
 public:
  explicit AdaptedWeights(const WeightSource& source)
      : source_(source), config_(adapted(source.config())), rows_(rows_of(source.config())) {
    check(config_);
  }
  const GriffinConfig& config() const override { return config_; }
  StoredType type() const override { return source_.type(); }
  std::string description() const override { return source_.description(); }

  void read(const parallel::ParameterInfo& info, std::int64_t first, std::int64_t count,
            float* out) const override {
    const auto before = std::find_if(rows_.begin(), rows_.end(),
                                     [&](const auto& one) { return one.name == info.name; });
    EYRIE_CHECK(before != rows_.end(), "no parameter " + info.name);
    if (before->shape != info.shape && info.name.ends_with("_gate/w")) {
      return read_gate(*before, info, first, count, out);
    }
    source_.read(*before, first, count, out);
    if (source_.config().scale_embedding) return;
    const float scale = config_.embedding_scale();
    if (info.name == "embedder/input_embedding") {
      for (std::int64_t i = 0; i < count; ++i) out[i] /= scale;
    } else if (info.name == "final_norm/scale") {
      for (std::int64_t i = 0; i < count; ++i) out[i] = (1 + out[i]) * scale - 1;
    }
  }

 private:
  // (n · m, b, b) as (n, m · b, m · b): m blocks on the diagonal of each.
  void read_gate(const parallel::ParameterInfo& before, const parallel::ParameterInfo& info,
                 std::int64_t first, std::int64_t count, float* out) const {
    std::vector<float> blocks(static_cast<std::size_t>(before.count()));
    source_.read(before, 0, before.count(), blocks.data());
    const std::int64_t b = before.shape[1], width = info.shape[1], m = width / b;
    for (std::int64_t at = 0; at < count; ++at) {
      const std::int64_t index = first + at, h = index / (width * width);
      const std::int64_t i = index / width % width, j = index % width;
      out[at] = i / b == j / b
                    ? blocks[static_cast<std::size_t>(((h * m + i / b) * b + i % b) * b + j % b)]
                    : 0.0f;
    }
  }

  const WeightSource& source_;
  GriffinConfig config_;
  std::vector<parallel::ParameterInfo> rows_;  // of the source
};

}  // namespace

std::vector<Obstacle> obstacles(const GriffinConfig& config) {
  std::vector<Obstacle> found;
  if (has(config, 'G') && has(config, 'A')) {
    found.push_back({"layers has both A and G: transformers knows one kind of attention", ""});
  } else if (has(config, 'G')) {
    found.push_back(
        {"layers has G: transformers knows local attention only",
         fmt::format("attention_window_size {}, which no sequence fills", kWindow + 1)});
  }
  if (config.gate_blocks != config.heads) {
    Obstacle gates{fmt::format("gate_blocks is {}, heads {}: transformers has one number for both",
                               config.gate_blocks, config.heads),
                   ""};
    if (!has_attention(config)) {
      if (config.width % config.gate_blocks == 0 && config.width / config.gate_blocks % 4 == 0)
        gates.adapting = fmt::format("{} heads, which no layer uses", config.gate_blocks);
    } else if (config.gate_blocks % config.heads == 0) {
      gates.adapting =
          fmt::format("gates of {} larger blocks, zeros in what was not there", config.heads);
    }
    found.push_back(gates);
  }
  if (!config.scale_embedding) {
    found.push_back({"scale_embedding is false: transformers multiplies the embedding by √width",
                     fmt::format("the embedding divided by {0}, 1 + w of the final norm multiplied "
                                 "by {0}",
                                 [&] {
                                   GriffinConfig scaled = config;
                                   scaled.scale_embedding = true;
                                   return scaled.embedding_scale();
                                 }())});
  }
  if (config.soft_cap == 0) {
    found.push_back(
        {"soft_cap is 0: transformers divides by it",
         fmt::format("logits_soft_cap {}, which changes no logit below 300", kSoftCap)});
  }
  return found;
}

std::unique_ptr<WeightSource> adapt(const WeightSource& source) {
  for (const Obstacle& obstacle : obstacles(source.config())) {
    if (obstacle.adapting.empty()) {
      throw base::InputError(
          fmt::format("{}: {}; it cannot be adapted", source.description(), obstacle.why));
    }
  }
  return std::make_unique<AdaptedWeights>(source);
}

}  // namespace eyrie::model
