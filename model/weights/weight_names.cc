// The table of names. transformers stores an nn.Linear as (out, in), the MLP's two branches as two
// tensors and the convolution as (R, 1, 4); the official torch code transposes only the linear
// layers.
#include "model/weights/weight_names.h"

#include <algorithm>
#include <cctype>
#include <functional>
#include <numeric>

#include "base/error.h"

namespace eyrie::model {
namespace {

// How the layouts of torch and transformers differ from Eyrie's.
enum class Layout {
  kSame,
  kTransposed,    // both (out, in)
  kConvolution,   // transformers: (R, 1, 4) for (4, R)
  kBranches,      // transformers: two tensors (E, D) for (2, D, E)
  kBranchBiases,  // transformers: two tensors (E) for (2, 1, 1, E)
};

struct Names {
  const char* row;               // within "blocks.N/" where `block`; the official flax name
  const char* torch;             // within "blocks.N."
  const char* hugging_face;      // within "model.layers.N." or "model."
  const char* second = nullptr;  // of the two branches
  Layout layout = Layout::kSame;
  bool block = true;
};

constexpr Names kNames[] = {
    {"embedder/input_embedding", "embedder.input_embedding", "embed_tokens.weight", nullptr,
     Layout::kSame, false},
    {"final_norm/scale", "final_norm.scale", "final_norm.weight", nullptr, Layout::kSame, false},
    {"temporal_pre_norm/scale", "temporal_pre_norm.scale", "temporal_pre_norm.weight"},
    {"channel_pre_norm/scale", "channel_pre_norm.scale", "channel_pre_norm.weight"},
    {"recurrent_block/linear_x/kernel", "recurrent_block.linear_x.weight",
     "temporal_block.linear_x.weight", nullptr, Layout::kTransposed},
    {"recurrent_block/linear_x/bias", "recurrent_block.linear_x.bias",
     "temporal_block.linear_x.bias"},
    {"recurrent_block/linear_y/kernel", "recurrent_block.linear_y.weight",
     "temporal_block.linear_y.weight", nullptr, Layout::kTransposed},
    {"recurrent_block/linear_y/bias", "recurrent_block.linear_y.bias",
     "temporal_block.linear_y.bias"},
    {"recurrent_block/linear_out/kernel", "recurrent_block.linear_out.weight",
     "temporal_block.linear_out.weight", nullptr, Layout::kTransposed},
    {"recurrent_block/linear_out/bias", "recurrent_block.linear_out.bias",
     "temporal_block.linear_out.bias"},
    {"recurrent_block/conv_1d/w", "recurrent_block.conv_1d.w", "temporal_block.conv_1d.weight",
     nullptr, Layout::kConvolution},
    {"recurrent_block/conv_1d/b", "recurrent_block.conv_1d.b", "temporal_block.conv_1d.bias"},
    {"recurrent_block/rg_lru/a_param", "recurrent_block.rg_lru.a_param",
     "temporal_block.rg_lru.recurrent_param"},
    {"recurrent_block/rg_lru/input_gate/w", "recurrent_block.rg_lru.input_gate.w",
     "temporal_block.rg_lru.input_gate_weight"},
    {"recurrent_block/rg_lru/input_gate/b", "recurrent_block.rg_lru.input_gate.b",
     "temporal_block.rg_lru.input_gate_bias"},
    {"recurrent_block/rg_lru/a_gate/w", "recurrent_block.rg_lru.a_gate.w",
     "temporal_block.rg_lru.recurrent_gate_weight"},
    {"recurrent_block/rg_lru/a_gate/b", "recurrent_block.rg_lru.a_gate.b",
     "temporal_block.rg_lru.recurrent_gate_bias"},
    {"attention_block/proj_q/kernel", "attention_block.proj_q.weight",
     "temporal_block.q_proj.weight", nullptr, Layout::kTransposed},
    {"attention_block/proj_k/kernel", "attention_block.proj_k.weight",
     "temporal_block.k_proj.weight", nullptr, Layout::kTransposed},
    {"attention_block/proj_v/kernel", "attention_block.proj_v.weight",
     "temporal_block.v_proj.weight", nullptr, Layout::kTransposed},
    {"attention_block/proj_final/kernel", "attention_block.proj_final.weight",
     "temporal_block.o_proj.weight", nullptr, Layout::kTransposed},
    {"attention_block/proj_final/bias", "attention_block.proj_final.bias",
     "temporal_block.o_proj.bias"},
    {"mlp_block/ffw_up/w", "mlp_block.ffw_up.w", "mlp_block.gate_proj.weight",
     "mlp_block.up_proj.weight", Layout::kBranches},
    {"mlp_block/ffw_up/b", "mlp_block.ffw_up.b", "mlp_block.gate_proj.bias",
     "mlp_block.up_proj.bias", Layout::kBranchBiases},
    {"mlp_block/ffw_down/kernel", "mlp_block.ffw_down.weight", "mlp_block.down_proj.weight",
     nullptr, Layout::kTransposed},
    {"mlp_block/ffw_down/bias", "mlp_block.ffw_down.bias", "mlp_block.down_proj.bias"},
};

constexpr std::string_view kBlocks = "blocks.", kLayers = "model.layers.", kModel = "model.";

// Splits what follows `before` in a name into the block's number and the rest: "blocks.12/a/b" with
// '/' gives "12" and "a/b". Returns false if it does not have that form.
bool split(std::string_view name, std::string_view before, char separator, std::string& number,
           std::string& inside) {
  if (!name.starts_with(before)) return false;
  name.remove_prefix(before.size());
  const std::size_t end = name.find(separator);
  if (end == std::string_view::npos || end == 0) return false;
  number = name.substr(0, end);
  inside = name.substr(end + 1);
  return std::all_of(number.begin(), number.end(),
                     [](unsigned char c) { return std::isdigit(c) != 0; });
}

std::string with_dots(std::string text) {
  std::replace(text.begin(), text.end(), '/', '.');
  return text;
}

bool has_name(const Names& names, const std::string& inside, Naming naming) {
  switch (naming) {
    case Naming::kFlax:
      return inside == with_dots(names.row);
    case Naming::kTorch:
      return inside == names.torch;
    case Naming::kHuggingFace:
      return inside == names.hugging_face || (names.second != nullptr && inside == names.second);
  }
  return false;
}

}  // namespace

std::int64_t NamedTensor::count() const {
  return std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
}

std::vector<NamedTensor> tensors_of(const parallel::ParameterInfo& row, Naming naming) {
  std::string number, inside;
  const bool block = split(row.name, kBlocks, '/', number, inside);
  if (!block) inside = row.name;
  for (const Names& names : kNames) {
    if (names.block != block || inside != names.row) continue;
    if (naming == Naming::kFlax) return {{row.name, row.shape}};
    const bool torch = naming == Naming::kTorch;
    const std::string before = torch   ? (block ? std::string(kBlocks) + number + "." : "")
                               : block ? std::string(kLayers) + number + "."
                                       : std::string(kModel);
    const std::string name = before + (torch ? names.torch : names.hugging_face);
    const auto& shape = row.shape;
    if (names.layout == Layout::kTransposed) return {{name, {shape[1], shape[0]}, true}};
    if (torch || names.layout == Layout::kSame) return {{name, shape}};
    if (names.layout == Layout::kConvolution) return {{name, {shape[1], 1, shape[0]}, true}};
    const std::string second = before + names.second;
    if (names.layout == Layout::kBranches) {
      return {{name, {shape[2], shape[1]}, true, 0}, {second, {shape[2], shape[1]}, true, 1}};
    }
    return {{name, {shape[3]}, false, 0}, {second, {shape[3]}, false, 1}};
  }
  base::check_failed(__FILE__, __LINE__, "a parameter that is not in the table of names", row.name);
}

std::optional<std::string> row_name_of(const std::string& name, Naming naming) {
  std::string dotted = name;
  if (naming != Naming::kHuggingFace) {
    dotted = with_dots(name.starts_with('/') ? name.substr(1) : name);
    constexpr std::string_view kParams = "params.";
    if (dotted.starts_with(kParams)) dotted.erase(0, kParams.size());
  }
  std::string number, inside;
  const bool block =
      split(dotted, naming == Naming::kHuggingFace ? kLayers : kBlocks, '.', number, inside);
  if (!block) {
    inside = dotted;
    if (naming == Naming::kHuggingFace) {
      if (!dotted.starts_with(kModel)) return std::nullopt;
      inside = dotted.substr(kModel.size());
    }
  }
  for (const Names& names : kNames) {
    if (names.block != block || !has_name(names, inside, naming)) continue;
    return block ? std::string(kBlocks) + number + "/" + names.row : names.row;
  }
  return std::nullopt;
}

}  // namespace eyrie::model
