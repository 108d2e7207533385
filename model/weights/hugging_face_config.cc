// config.json and generation_config.json: transformers' RecurrentGemma, and Eyrie's own model_type
// for what that class cannot express.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json_text.h"
#include "model/weights/hugging_face.h"
#include "model/weights/transformers_form.h"

namespace eyrie::model {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr const char* kGemma = "recurrent_gemma";
constexpr const char* kOwn = "eyrie_griffin";
constexpr const char* kTokenizerHash = "eyrie_tokenizer_hash";

std::int64_t whole(const json& read, const char* key, const base::Path& path) {
  if (!read.contains(key) || !read[key].is_number_integer()) {
    throw base::InputError(
        fmt::format("{}: '{}' is missing or not a whole number", path.string(), key));
  }
  return read[key].get<std::int64_t>();
}

// Checks what is fixed in Griffin: with any other value the results would be wrong.
void check_fixed(const json& read, const base::Path& path) {
  const json fixed = {{"num_key_value_heads", 1},     {"conv1d_width", 4},
                      {"rms_norm_eps", 1e-6},         {"rope_theta", 10000},
                      {"partial_rotary_factor", 0.5}, {"hidden_activation", "gelu_pytorch_tanh"},
                      {"attention_bias", false},      {"rope_type", "default"}};
  const auto check_in = [&](const json& object) {
    for (const auto& [key, value] : fixed.items()) {
      if (!object.contains(key) || object[key].is_null() || object[key] == value) continue;
      throw base::InputError(fmt::format("{}: {} is {}; Griffin has {}", path.string(), key,
                                         object[key].dump(), value.dump()));
    }
  };
  check_in(read);
  if (read.contains("rope_parameters") && read["rope_parameters"].is_object())
    check_in(read["rope_parameters"]);
  if (!read.contains("num_key_value_heads")) {  // transformers defaults to the number of heads
    throw base::InputError(
        fmt::format("{}: 'num_key_value_heads' is missing; Griffin has 1", path.string()));
  }
}

std::string read_layers(const json& read, const base::Path& path) {
  const std::int64_t layers = whole(read, "num_hidden_layers", path);
  if (layers < 1 || layers > 10000) {
    throw base::InputError(fmt::format("{}: num_hidden_layers is {}", path.string(), layers));
  }
  const char* key = read.contains("block_types") ? "block_types" : "_block_types";
  if (read.contains("_block_types") && read["_block_types"] != read[key]) {
    throw base::InputError(fmt::format(
        "{}: block_types and _block_types are not the same; remove one", path.string()));
  }
  std::vector<std::string> kinds = {"recurrent", "recurrent", "attention"};
  if (read.contains(key) && read[key].is_array() && !read[key].empty()) {
    kinds.clear();
    for (const auto& kind : read[key])
      kinds.push_back(kind.is_string() ? kind.get<std::string>() : "");
  }
  std::string letters;
  for (std::int64_t i = 0; i < layers; ++i) {
    const std::string& kind = kinds[static_cast<std::size_t>(i) % kinds.size()];
    if (kind != "recurrent" && kind != "attention") {
      throw base::InputError(fmt::format("{}: layer kind '{}' is not known", path.string(), kind));
    }
    letters += kind == "recurrent" ? 'R' : 'A';
  }
  return letters;
}

// Returns the shortest list that gives the layers when repeated.
ordered_json block_types(const std::string& layers) {
  std::size_t length = 1;
  for (; length < layers.size(); ++length) {
    bool repeats = true;
    for (std::size_t i = length; i < layers.size(); ++i)
      repeats = repeats && layers[i] == layers[i - length];
    if (repeats) break;
  }
  ordered_json kinds = ordered_json::array();
  for (std::size_t i = 0; i < length; ++i)
    kinds.push_back(layers[i] == 'R' ? "recurrent" : "attention");
  return kinds;
}

}  // namespace

GriffinConfig read_hugging_face_config(const base::Path& directory) {
  const base::Path path = directory / "config.json";
  const json read = json::parse(base::read_json_object(path.string()));
  const std::string kind = read.contains("model_type") && read["model_type"].is_string()
                               ? read["model_type"].get<std::string>()
                               : "";
  GriffinConfig config;
  if (kind == kOwn) {
    try {
      return from_json(read.value("griffin", json()).dump());
    } catch (const base::InputError& error) {
      throw base::InputError(fmt::format("{}: griffin: {}", path.string(), error.what()));
    }
  }
  if (kind != kGemma) {
    throw base::InputError(fmt::format("{}: model_type is '{}'; '{}' and '{}' are read",
                                       path.string(), kind, kGemma, kOwn));
  }
  config.preset = "hugging-face";
  config.vocabulary = whole(read, "vocab_size", path);
  config.width = whole(read, "hidden_size", path);
  config.rnn_width = read.contains("lru_width") && !read["lru_width"].is_null()
                         ? whole(read, "lru_width", path)
                         : config.width;
  config.mlp_width = whole(read, "intermediate_size", path) / 2;  // it counts both branches
  config.heads = config.gate_blocks = whole(read, "num_attention_heads", path);
  config.window = whole(read, "attention_window_size", path) - 1;
  config.scale_embedding = true;
  config.soft_cap = read.contains("logits_soft_cap") && read["logits_soft_cap"].is_number()
                        ? read["logits_soft_cap"].get<double>()
                        : 30.0;
  config.layers = read_layers(read, path);
  check_fixed(read, path);
  if (read.contains("head_dim") && !read["head_dim"].is_null() && config.heads > 0 &&
      read["head_dim"] != config.width / config.heads) {
    throw base::InputError(fmt::format(
        "{}: head_dim is {}, where hidden_size {} over {} heads makes {}", path.string(),
        read["head_dim"].dump(), config.width, config.heads, config.width / config.heads));
  }
  try {
    check(config);
  } catch (const base::InputError& error) {
    throw base::InputError(fmt::format("{}: {}", path.string(), error.what()));
  }
  return config;
}

SpecialTokens read_special_tokens(const base::Path& directory) {
  const json read = json::parse(base::read_json_object((directory / "config.json").string()));
  SpecialTokens tokens;
  const auto take = [&](const char* key, std::int64_t& out) {
    if (!read.contains(key)) return;
    const json& value = read[key].is_array() && !read[key].empty() ? read[key][0] : read[key];
    if (value.is_number_integer()) out = value.get<std::int64_t>();
  };
  take("bos_token_id", tokens.bos);
  take("eos_token_id", tokens.eos);
  take("pad_token_id", tokens.pad);
  return tokens;
}

std::string read_tokenizer_hash(const base::Path& directory) {
  const json read = json::parse(base::read_json_object((directory / "config.json").string()));
  return read.contains(kTokenizerHash) && read[kTokenizerHash].is_string()
             ? read[kTokenizerHash].get<std::string>()
             : "";
}

std::string hugging_face_config(const GriffinConfig& config, StoredType type,
                                const SpecialTokens& tokens, bool same_window,
                                const std::string& tokenizer_hash) {
  ordered_json out;
  const bool gemma = obstacles(config).empty();
  out["architectures"] = {gemma ? "RecurrentGemmaForCausalLM" : "EyrieGriffin"};
  out["model_type"] = gemma ? kGemma : kOwn;
  out["dtype"] = out["torch_dtype"] = torch_name_of(type);  // transformers 5 and 4
  out["bos_token_id"] = tokens.bos;
  out["eos_token_id"] = tokens.eos;
  out["pad_token_id"] = tokens.pad;
  if (!tokenizer_hash.empty()) out[kTokenizerHash] = tokenizer_hash;
  out["tie_word_embeddings"] = true;
  if (!gemma) {
    out["griffin"] = ordered_json::parse(to_json(config));
    return out.dump(2) + "\n";
  }
  out["vocab_size"] = config.vocabulary;
  out["hidden_size"] = config.width;
  out["intermediate_size"] = 2 * config.mlp_width;  // both branches
  out["lru_width"] = config.rnn_width;
  out["num_hidden_layers"] = config.layers.size();
  out["block_types"] = block_types(config.layers);
  out["num_attention_heads"] = config.heads;
  out["num_key_value_heads"] = 1;
  out["head_dim"] = config.head_dim();
  out["attention_window_size"] = config.window + (same_window ? 0 : 1);
  out["attention_bias"] = false;
  out["attention_dropout"] = 0.0;
  out["conv1d_width"] = 4;
  out["hidden_activation"] = "gelu_pytorch_tanh";
  out["logits_soft_cap"] = config.soft_cap;
  out["rms_norm_eps"] = 1e-6;
  out["rope_theta"] = 10000.0;  // transformers 4 reads these two, 5 the object
  out["partial_rotary_factor"] = 0.5;
  out["rope_parameters"] = {
      {"rope_type", "default"}, {"rope_theta", 10000.0}, {"partial_rotary_factor", 0.5}};
  out["w_init_variance_scale"] = 0.01;
  out["final_w_init_variance_scale"] = 2.0 / static_cast<double>(config.layers.size());
  out["use_cache"] = true;
  return out.dump(2) + "\n";
}

std::string generation_config(const SpecialTokens& tokens) {
  return ordered_json{{"bos_token_id", tokens.bos},
                      {"eos_token_id", tokens.eos},
                      {"pad_token_id", tokens.pad}}
             .dump(2) +
         "\n";
}

}  // namespace eyrie::model
