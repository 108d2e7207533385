// Presets and the checks of a model's sizes.
#include "model/config.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/config_range.h"
#include "tensor/dtype.h"

namespace eyrie::model {
namespace {

// Griffin paper, table 2 and appendix C (100m … 14b, 16 gate blocks); RecurrentGemma; two small
// sizes for experiments.
struct Size {
  const char* name;
  std::int64_t width, rnn_width, layers, heads, gate_blocks, vocabulary;
};
constexpr Size kSizes[] = {
    {"10m", 256, 256, 6, 4, 4, 8192},         {"60m", 512, 512, 8, 8, 8, 32768},
    {"100m", 768, 1024, 12, 6, 16, 256000},   {"200m", 1024, 1536, 12, 8, 16, 256000},
    {"400m", 1536, 2048, 12, 12, 16, 256000}, {"1.3b", 2048, 2560, 24, 16, 16, 256000},
    {"3b", 3072, 4096, 24, 24, 16, 256000},   {"7b", 4096, 5632, 32, 32, 16, 256000},
    {"14b", 5120, 8192, 40, 40, 16, 256000}};

std::string repeat(const std::string& pattern, std::int64_t layers) {
  std::string all;
  while (static_cast<std::int64_t>(all.size()) < layers) all += pattern;
  return all.substr(0, static_cast<std::size_t>(layers));
}

GriffinConfig recurrent_gemma(const std::string& name, std::int64_t width, std::int64_t heads,
                              std::int64_t layers) {
  return {name, 256000, width, width, 3 * width, heads, heads, repeat("RRA", layers),
          2048, true,   30.0};
}

}  // namespace

float GriffinConfig::embedding_scale() const {
  if (!scale_embedding) return 1.0f;
  return tensor::to_float(
      tensor::to_bfloat16(static_cast<float>(std::sqrt(static_cast<double>(width)))));
}

std::vector<std::string> preset_names() {
  std::vector<std::string> names = {"recurrentgemma-2b", "recurrentgemma-9b"};
  for (const char* family : {"griffin", "hawk", "mqa", "local"}) {
    for (const Size& size : kSizes) names.push_back(fmt::format("{}-{}", family, size.name));
  }
  return names;
}

GriffinConfig preset(const std::string& name) {
  if (name == "recurrentgemma-2b") return recurrent_gemma(name, 2560, 10, 26);
  if (name == "recurrentgemma-9b") return recurrent_gemma(name, 4096, 16, 38);
  const std::size_t dash = name.find('-');
  const std::string family = name.substr(0, dash);
  const std::string pattern = family == "griffin" ? "RRA"
                              : family == "hawk"  ? "R"
                              : family == "mqa"   ? "G"
                              : family == "local" ? "A"
                                                  : "";
  for (const Size& size : kSizes) {
    if (pattern.empty() || dash == std::string::npos || name.substr(dash + 1) != size.name)
      continue;
    return {name,
            size.vocabulary,
            size.width,
            size.rnn_width,
            3 * size.width,
            size.heads,
            size.gate_blocks,
            repeat(pattern, size.layers),
            1024,
            false,
            0.0};
  }
  const std::string near = base::nearest(name, preset_names());
  throw base::InputError(fmt::format("model preset '{}' is not known{} Known: {}", name,
                                     near.empty() ? "." : "; did you mean '" + near + "'?",
                                     fmt::join(preset_names(), ", ")));
}

GriffinConfig preset(const std::string& name, const std::vector<std::string>& changes) {
  base::Config section = base::Config::parse("preset: " + name + "\n", "--preset " + name);
  for (const std::string& change : changes) section.set(change);
  const GriffinConfig config = read_model(section);
  section.finish();
  return config;
}

namespace {

constexpr std::int64_t kMostWidth = 1 << 20;

// Why sizes do not fit, and the keys concerned.
struct Misfit {
  std::vector<std::string> keys;
  std::string why;
};

// Finds sizes that fit no memory and whose products would overflow 64 bits.
std::optional<Misfit> too_large(const GriffinConfig& config) {
  constexpr double kMostParameters = 1e14;
  double parameters = static_cast<double>(config.vocabulary) * static_cast<double>(config.width);
  const auto width = static_cast<double>(config.width), rnn = static_cast<double>(config.rnn_width);
  for (const char layer : config.layers) {
    parameters += 3 * width * static_cast<double>(config.mlp_width) +
                  (layer == 'R' ? 3 * width * rnn : 3 * width * width);
  }
  if (parameters <= kMostParameters) return std::nullopt;
  return Misfit{
      {"width", "rnn_width", "mlp_width", "vocabulary", "layers"},
      fmt::format("about {:.3g} parameters; at most {:.0e} can be", parameters, kMostParameters)};
}

std::optional<Misfit> misfit(const GriffinConfig& config) {
  struct Size {
    const char* name;
    std::int64_t value, most;
  };
  for (const auto& [name, value, most] :
       {Size{"vocabulary", config.vocabulary, 1 << 24}, Size{"width", config.width, kMostWidth},
        Size{"rnn_width", config.rnn_width, 1 << 20}, Size{"mlp_width", config.mlp_width, 1 << 22},
        Size{"heads", config.heads, 1 << 16}, Size{"gate_blocks", config.gate_blocks, 1 << 16},
        Size{"window", config.window, GriffinConfig::kUnlimited}}) {
    if (value < 1)
      return Misfit{{name}, fmt::format("{} is {}; it must be at least 1", name, value)};
    if (value > most)
      return Misfit{{name}, fmt::format("{} is {}; it must be at most {}", name, value, most)};
  }
  if (config.layers.empty() || config.layers.find_first_not_of("RAG") != std::string::npos) {
    return Misfit{{"layers"},
                  fmt::format("layers is '{}'; write one letter a layer, R (recurrent), A (local "
                              "attention) or G (global attention)",
                              config.layers)};
  }
  if (config.layers.size() > 512) {
    return Misfit{{"layers"},
                  fmt::format("layers has {} letters; at most 512 can be", config.layers.size())};
  }
  if (config.rnn_width % config.gate_blocks != 0) {
    return Misfit{{"gate_blocks", "rnn_width", "width"},
                  fmt::format("gate_blocks {} does not divide rnn_width {}", config.gate_blocks,
                              config.rnn_width)};
  }
  if (config.width % config.heads != 0 || config.head_dim() % 4 != 0) {
    return Misfit{{"heads", "width"},
                  fmt::format("width {} over {} heads must give a head dimension that 4 divides",
                              config.width, config.heads)};
  }
  if (!(config.soft_cap >= 0 && config.soft_cap <= 1 << 24)) {
    return Misfit{{"soft_cap"},
                  fmt::format("soft_cap is {}; it must be from 0 (none) to 2^24", config.soft_cap)};
  }
  if (config.init != "official" && config.init != "paper")
    return Misfit{{"init"}, fmt::format("init is '{}'; use official or paper", config.init)};
  return too_large(config);
}

constexpr const char* kMisfit = "the model's sizes do not fit: ";

}  // namespace

void check(const GriffinConfig& config) {
  if (const auto wrong = misfit(config)) throw base::InputError(kMisfit + wrong->why);
}

GriffinConfig read_model(base::Config section) {
  const std::string name = section.get<std::string>("preset");
  GriffinConfig config;
  try {
    config = preset(name);
  } catch (const base::InputError& error) {
    throw section.error("preset", error.what());
  }
  const std::int64_t width_before = config.width;
  config.vocabulary = section.get<std::int64_t>("vocabulary", config.vocabulary);
  config.width = base::get_whole(section, "width", config.width, 1, kMostWidth);
  if (config.width != width_before) {  // sizes that default to the width follow it
    if (config.rnn_width == width_before) config.rnn_width = config.width;
    config.mlp_width = 3 * config.width;
  }
  config.rnn_width = section.get<std::int64_t>("rnn_width", config.rnn_width);
  config.mlp_width = section.get<std::int64_t>("mlp_width", config.mlp_width);
  config.heads = section.get<std::int64_t>("heads", config.heads);
  config.gate_blocks = section.get<std::int64_t>("gate_blocks", config.gate_blocks);
  config.layers = section.get<std::string>("layers", config.layers);
  config.window = section.get<std::int64_t>("window", config.window);
  config.scale_embedding = section.get<bool>("scale_embedding", config.scale_embedding);
  config.soft_cap = section.get<double>("soft_cap", config.soft_cap);
  config.init = section.get<std::string>("init", config.init);
  if (config.init != "official" && config.init != "paper")
    throw section.error("init", fmt::format("'{}' is not one of: official, paper", config.init));
  if (const auto wrong = misfit(config)) throw section.error_at(wrong->keys, kMisfit + wrong->why);
  return config;
}

std::string title_of(const GriffinConfig& config, bool sizes) {
  const auto names = preset_names();
  if (std::find(names.begin(), names.end(), config.preset) == names.end()) return config.preset;
  const GriffinConfig plain = preset(config.preset);
  std::vector<std::string> changes;
  const auto compare = [&](const char* name, const auto& value, const auto& usual) {
    if (value != usual) changes.push_back(fmt::format("{} {}", name, value));
  };
  compare("vocabulary", config.vocabulary, plain.vocabulary);
  compare("width", config.width, plain.width);
  compare("rnn_width", config.rnn_width, plain.rnn_width);
  compare("mlp_width", config.mlp_width, plain.mlp_width);
  compare("heads", config.heads, plain.heads);
  compare("gate_blocks", config.gate_blocks, plain.gate_blocks);
  if (config.layers.size() <= 48) {
    compare("layers", config.layers, plain.layers);
  } else if (config.layers != plain.layers) {
    changes.push_back(fmt::format("{} layers", config.layers.size()));
  }
  compare("window", config.window, plain.window);
  compare("scale_embedding", config.scale_embedding, plain.scale_embedding);
  compare("soft_cap", config.soft_cap, plain.soft_cap);
  compare("init", config.init, plain.init);
  if (changes.empty()) return config.preset;
  return fmt::format("{}, changed{}", config.preset,
                     sizes ? fmt::format(": {}", fmt::join(changes, ", ")) : "");
}

std::string to_json(const GriffinConfig& config) {
  return nlohmann::ordered_json{{"preset", config.preset},
                                {"vocabulary", config.vocabulary},
                                {"width", config.width},
                                {"rnn_width", config.rnn_width},
                                {"mlp_width", config.mlp_width},
                                {"heads", config.heads},
                                {"gate_blocks", config.gate_blocks},
                                {"layers", config.layers},
                                {"window", config.window},
                                {"scale_embedding", config.scale_embedding},
                                {"soft_cap", config.soft_cap},
                                {"init", config.init}}
      .dump();
}

GriffinConfig from_json(const std::string& text) {
  GriffinConfig config;
  try {
    const auto json = nlohmann::json::parse(text);
    json.at("preset").get_to(config.preset);
    json.at("vocabulary").get_to(config.vocabulary);
    json.at("width").get_to(config.width);
    json.at("rnn_width").get_to(config.rnn_width);
    json.at("mlp_width").get_to(config.mlp_width);
    json.at("heads").get_to(config.heads);
    json.at("gate_blocks").get_to(config.gate_blocks);
    json.at("layers").get_to(config.layers);
    json.at("window").get_to(config.window);
    json.at("scale_embedding").get_to(config.scale_embedding);
    json.at("soft_cap").get_to(config.soft_cap);
    config.init = json.value("init", config.init);
  } catch (const nlohmann::json::exception& error) {
    throw base::InputError(fmt::format("a model configuration cannot be read: {}", error.what()));
  }
  check(config);
  return config;
}

}  // namespace eyrie::model
