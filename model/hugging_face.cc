// Names and layouts between transformers' RecurrentGemma and the official flax names: nn.Linear
// keeps (out, in), the MLP's two branches are two tensors, the convolution is (R, 1, 4).
#include "model/hugging_face.h"

#include <fmt/format.h>

#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "model/safetensors.h"

namespace eyrie::model {
namespace {

using nlohmann::json;

json read_json(const base::Path& path) {
  try {
    return json::parse(base::read_file(path));
  } catch (const json::exception& error) {
    throw base::InputError(fmt::format("{}: not JSON: {}", path.string(), error.what()));
  }
}

// A tensor there, and how its elements lie in a row of ours: `part` of the row's leading axis,
// transposed or not.
struct Source {
  std::string name;
  std::vector<std::int64_t> shape;
  bool transpose;
  std::int64_t part;
};

std::vector<Source> sources_of(const parallel::ParameterRow& row) {
  const auto& shape = row.shape;
  const auto plain = [&](const std::string& name) {
    return std::vector<Source>{{name, shape, false, 0}};
  };
  if (row.name == "embedder/input_embedding") return plain("model.embed_tokens.weight");
  if (row.name == "final_norm/scale") return plain("model.final_norm.weight");
  const std::size_t slash = row.name.find('/');
  const std::string layer =
      "model.layers." + row.name.substr(7, slash - 7) + ".";  // after "blocks."
  const std::string inside = row.name.substr(slash + 1);
  static const std::map<std::string, std::string> same = {
      {"temporal_pre_norm/scale", "temporal_pre_norm.weight"},
      {"channel_pre_norm/scale", "channel_pre_norm.weight"},
      {"recurrent_block/linear_x/bias", "temporal_block.linear_x.bias"},
      {"recurrent_block/linear_y/bias", "temporal_block.linear_y.bias"},
      {"recurrent_block/linear_out/bias", "temporal_block.linear_out.bias"},
      {"recurrent_block/conv_1d/b", "temporal_block.conv_1d.bias"},
      {"recurrent_block/rg_lru/a_param", "temporal_block.rg_lru.recurrent_param"},
      {"recurrent_block/rg_lru/input_gate/w", "temporal_block.rg_lru.input_gate_weight"},
      {"recurrent_block/rg_lru/input_gate/b", "temporal_block.rg_lru.input_gate_bias"},
      {"recurrent_block/rg_lru/a_gate/w", "temporal_block.rg_lru.recurrent_gate_weight"},
      {"recurrent_block/rg_lru/a_gate/b", "temporal_block.rg_lru.recurrent_gate_bias"},
      {"attention_block/proj_final/bias", "temporal_block.o_proj.bias"},
      {"mlp_block/ffw_down/bias", "mlp_block.down_proj.bias"}};
  static const std::map<std::string, std::string> transposed = {
      {"recurrent_block/linear_x/kernel", "temporal_block.linear_x.weight"},
      {"recurrent_block/linear_y/kernel", "temporal_block.linear_y.weight"},
      {"recurrent_block/linear_out/kernel", "temporal_block.linear_out.weight"},
      {"attention_block/proj_q/kernel", "temporal_block.q_proj.weight"},
      {"attention_block/proj_k/kernel", "temporal_block.k_proj.weight"},
      {"attention_block/proj_v/kernel", "temporal_block.v_proj.weight"},
      {"attention_block/proj_final/kernel", "temporal_block.o_proj.weight"},
      {"mlp_block/ffw_down/kernel", "mlp_block.down_proj.weight"}};
  if (const auto found = same.find(inside); found != same.end())
    return plain(layer + found->second);
  if (const auto found = transposed.find(inside); found != transposed.end()) {
    return {{layer + found->second, {shape[1], shape[0]}, true, 0}};
  }
  if (inside == "recurrent_block/conv_1d/w")
    return {{layer + "temporal_block.conv_1d.weight", {shape[1], 1, shape[0]}, true, 0}};
  if (inside == "mlp_block/ffw_up/w") {
    return {{layer + "mlp_block.gate_proj.weight", {shape[2], shape[1]}, true, 0},
            {layer + "mlp_block.up_proj.weight", {shape[2], shape[1]}, true, 1}};
  }
  if (inside == "mlp_block/ffw_up/b") {
    return {{layer + "mlp_block.gate_proj.bias", {shape[3]}, false, 0},
            {layer + "mlp_block.up_proj.bias", {shape[3]}, false, 1}};
  }
  base::check_failed(__FILE__, __LINE__, "a parameter without a name in Hugging Face's layout",
                     row.name);
}

std::vector<base::Path> weight_files(const base::Path& directory) {
  const base::Path index = directory / "model.safetensors.index.json";
  if (!std::filesystem::exists(index)) return {directory / "model.safetensors"};
  std::set<std::string> names;
  const json read = read_json(index);
  if (!read.contains("weight_map") || !read["weight_map"].is_object()) {
    throw base::InputError(index.string() + ": has no weight_map");
  }
  for (const auto& [tensor, file] : read["weight_map"].items()) {
    if (!file.is_string())
      throw base::InputError(
          fmt::format("{}: weight_map names no file for {}", index.string(), tensor));
    names.insert(file.get<std::string>());
  }
  std::vector<base::Path> files;
  for (const std::string& name : names) {
    if (name.find('/') != std::string::npos)
      throw base::InputError(fmt::format("{}: file '{}' is not beside it", index.string(), name));
    files.push_back(directory / name);
  }
  return files;
}

}  // namespace

GriffinConfig read_hugging_face_config(const base::Path& directory) {
  const base::Path path = directory / "config.json";
  const json read = read_json(path);
  const auto whole = [&](const char* key) {
    if (!read.contains(key) || !read[key].is_number_integer()) {
      throw base::InputError(
          fmt::format("{}: '{}' is missing or not a whole number", path.string(), key));
    }
    return read[key].get<std::int64_t>();
  };
  if (read.value("model_type", "") != "recurrent_gemma") {
    throw base::InputError(fmt::format("{}: model_type is '{}'; 'recurrent_gemma' is read",
                                       path.string(), read.value("model_type", "")));
  }
  GriffinConfig config;
  config.preset = "hugging-face";
  config.vocabulary = whole("vocab_size");
  config.width = whole("hidden_size");
  config.rnn_width = read.contains("lru_width") && !read["lru_width"].is_null() ? whole("lru_width")
                                                                                : config.width;
  config.mlp_width = whole("intermediate_size") / 2;  // it counts both branches
  config.heads = config.gate_blocks = whole("num_attention_heads");
  if (whole("num_key_value_heads") != 1) {
    throw base::InputError(fmt::format("{}: num_key_value_heads is {}; Griffin has 1",
                                       path.string(), whole("num_key_value_heads")));
  }
  config.window = whole("attention_window_size") - 1;
  config.scale_embedding = true;
  config.soft_cap = read.contains("logits_soft_cap") && read["logits_soft_cap"].is_number()
                        ? read["logits_soft_cap"].get<double>()
                        : 30.0;
  const std::int64_t layers = whole("num_hidden_layers");
  const char* kinds_key = read.contains("block_types") ? "block_types" : "_block_types";
  std::vector<std::string> kinds = {"recurrent", "recurrent", "attention"};
  if (read.contains(kinds_key) && read[kinds_key].is_array() && !read[kinds_key].empty()) {
    kinds.clear();
    for (const auto& kind : read[kinds_key])
      kinds.push_back(kind.is_string() ? kind.get<std::string>() : "");
  }
  for (std::int64_t i = 0; i < layers; ++i) {
    const std::string& kind = kinds[static_cast<std::size_t>(i) % kinds.size()];
    if (kind != "recurrent" && kind != "attention") {
      throw base::InputError(fmt::format("{}: layer kind '{}' is not known", path.string(), kind));
    }
    config.layers += kind == "recurrent" ? 'R' : 'A';
  }
  check(config);
  return config;
}

void read_hugging_face_weights(const base::Path& directory, Parameters& parameters) {
  std::vector<Safetensors> files;
  std::map<std::string, const Safetensors::Entry*> entries;
  for (const base::Path& path : weight_files(directory)) files.emplace_back(path);
  for (const Safetensors& file : files) {
    for (const auto& [name, entry] : file.entries()) entries[name] = &entry;
  }
  std::vector<std::string> missing;
  std::vector<float> values;
  for (std::size_t u = 0; u < parameters.units().size(); ++u) {
    for (const auto& row : parameters.units()[u].rows) {
      for (const Source& source : sources_of(row)) {
        const auto found = entries.find(source.name);
        if (found == entries.end()) {
          missing.push_back(source.name);
          continue;
        }
        const Safetensors::Entry& entry = *found->second;
        if (entry.shape != source.shape) {
          throw base::InputError(fmt::format(
              "{}: tensor {} has shape ({}); config.json makes it ({})", directory.string(),
              source.name, fmt::join(entry.shape, ", "), fmt::join(source.shape, ", ")));
        }
        values.resize(static_cast<std::size_t>(entry.count));
        Safetensors::widen(entry, values.data());
        float* out = parameters.master(u) + row.offset + source.part * entry.count;
        // (out, in) there is (in, out) here; the convolution's (R, 1, 4) likewise becomes (4, R).
        const std::int64_t columns = source.transpose ? entry.shape.front() : entry.count;
        const std::int64_t rows = entry.count / columns;
        for (std::int64_t r = 0; r < rows; ++r) {
          for (std::int64_t c = 0; c < columns; ++c)
            out[r * columns + c] = values[static_cast<std::size_t>(c * rows + r)];
        }
        entries.erase(found);
      }
    }
  }
  if (!missing.empty()) {
    throw base::InputError(fmt::format("{}: {} tensors are missing: {}", directory.string(),
                                       missing.size(), fmt::join(missing, ", ")));
  }
  entries.erase("lm_head.weight");  // tied: a copy of the embedding where it is stored at all
  if (!entries.empty()) {
    std::vector<std::string> surplus;
    for (const auto& [name, entry] : entries) surplus.push_back(name);
    throw base::InputError(fmt::format("{}: {} tensors that this model does not have: {}",
                                       directory.string(), surplus.size(),
                                       fmt::join(surplus, ", ")));
  }
  parameters.refresh_all();
}

}  // namespace eyrie::model
