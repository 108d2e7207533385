// Official releases: which naming a file has, and the sizes of its model.
#include "model/weights/official_weights.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/hdf5_import.h"
#include "model/weights/safetensors.h"

namespace eyrie::model {
namespace {

using Shape = std::vector<std::int64_t>;

constexpr const char* kEmbedding = "embedder/input_embedding";

// A file of either format: tensors by the file's own names.
struct Opened {
  NamedTensors tensors;
  StoredType type = StoredType::kFloat32;
};

Opened open_file(const base::Path& path) {
  Opened opened;
  opened.tensors.place = path.string();
  const std::string extension = path.extension().string();
  if (extension == ".safetensors") {
    const auto file = std::make_shared<const Safetensors>(path);
    std::set<StoredType> types;
    for (const auto& [name, entry] : file->entries()) {
      if (!entry.type()) {
        throw base::InputError(
            fmt::format("{}: tensor {} is of dtype {}; weights are F32, BF16 or F16", path.string(),
                        name, entry.dtype));
      }
      types.insert(*entry.type());
      opened.tensors.shapes[name] = entry.shape;
    }
    if (types.size() == 1) opened.type = *types.begin();
    opened.tensors.read = [file](const std::string& name, std::int64_t first, std::int64_t count,
                                 float* out) { file->read(name, first, count, out); };
    return opened;
  }
  if (extension == ".h5" || extension == ".hdf5") {
    const auto file = std::make_shared<const base::ImportedHdf5>(path);
    for (const auto& [name, entry] : file->data_sets()) opened.tensors.shapes[name] = entry.shape;
    opened.tensors.read = [file](const std::string& name, std::int64_t first, std::int64_t count,
                                 float* out) { file->read(name, first, count, out); };
    return opened;
  }
  throw base::InputError(fmt::format(
      "{}: weights are read from .safetensors and .h5 files and from Hugging Face directories; "
      "docs/hugging_face.md says how to turn a .pt file or a flax checkpoint into one",
      path.string()));
}

// Flax if a kernel has a flax name, else torch if a weight has a torch name; throws InputError if
// neither.
Naming naming_of(const NamedTensors& tensors) {
  for (const auto& [name, shape] : tensors.shapes) {
    if (row_name_of(name, Naming::kFlax) && name.ends_with("kernel")) return Naming::kFlax;
  }
  for (const auto& [name, shape] : tensors.shapes) {
    if (row_name_of(name, Naming::kTorch) && name.ends_with("weight")) return Naming::kTorch;
  }
  throw base::InputError(
      fmt::format("{}: no tensor has a name of the official flax or torch releases (such as {})",
                  tensors.place, kEmbedding));
}

// Derives sizes from the shapes of the parameters in Eyrie's layout.
class Sizes {
 public:
  Sizes(const std::map<std::string, Shape>& rows, const std::string& place)
      : rows_(rows), place_(place) {}

  GriffinConfig config() const {
    GriffinConfig config;
    config.preset = "official";
    const Shape& embedding = shape(kEmbedding, 2);
    config.vocabulary = embedding[0];
    config.width = embedding[1];
    for (std::int64_t layer = 0;; ++layer) {
      const std::string before = fmt::format("blocks.{}/", layer);
      if (has(before + "recurrent_block/rg_lru/a_param")) {
        config.layers += 'R';
        config.rnn_width = shape(before + "recurrent_block/rg_lru/a_param", 1)[0];
        config.gate_blocks = shape(before + "recurrent_block/rg_lru/input_gate/w", 3)[0];
      } else if (has(before + "attention_block/proj_k/kernel")) {
        config.layers += 'A';
        config.heads = config.width / std::max<std::int64_t>(
                                          shape(before + "attention_block/proj_k/kernel", 2)[1], 1);
      } else {
        break;
      }
    }
    if (config.layers.empty()) {
      throw base::InputError(
          fmt::format("{}: no block 0: neither blocks.0/recurrent_block/rg_lru/a_param nor "
                      "blocks.0/attention_block/proj_k",
                      place_));
    }
    config.mlp_width = shape("blocks.0/mlp_block/ffw_up/w", 3)[2];
    // Sizes that no layer uses affect no result.
    if (config.heads == 0) config.heads = config.gate_blocks;
    if (config.rnn_width == 0) config.rnn_width = config.width;
    if (config.gate_blocks == 0) config.gate_blocks = config.heads;
    return config;
  }

 private:
  bool has(const std::string& row) const { return rows_.contains(row); }
  const Shape& shape(const std::string& row, std::size_t axes) const {
    const auto found = rows_.find(row);
    if (found == rows_.end()) throw base::InputError(fmt::format("{}: {} is missing", place_, row));
    if (found->second.size() != axes) {
      throw base::InputError(fmt::format("{}: {} is ({}); it must have {} axes", place_, row,
                                         fmt::join(found->second, ", "), axes));
    }
    return found->second;
  }
  const std::map<std::string, Shape>& rows_;
  const std::string& place_;
};

// Whether the shapes could be those of a preset, whatever its vocabulary.
bool same_sizes(const GriffinConfig& sizes, const GriffinConfig& preset) {
  std::string kinds = preset.layers;
  std::replace(kinds.begin(), kinds.end(), 'G', 'A');
  return sizes.width == preset.width && sizes.mlp_width == preset.mlp_width &&
         sizes.layers == kinds &&
         (kinds.find('R') == std::string::npos ||
          (sizes.rnn_width == preset.rnn_width && sizes.gate_blocks == preset.gate_blocks)) &&
         (kinds.find('A') == std::string::npos || sizes.heads == preset.heads);
}

base::InputError no_preset(const std::string& place, const GriffinConfig& sizes) {
  std::vector<std::string> fitting;
  for (const std::string& name : preset_names()) {
    if (same_sizes(sizes, preset(name))) fitting.push_back(name);
  }
  return base::InputError(fmt::format(
      "{}: shapes do not say window, soft cap and embedding scale; name the preset that has them "
      "with --preset{}",
      place,
      fitting.empty() ? ""
                      : fmt::format(" (the sizes are those of {})", fmt::join(fitting, ", "))));
}

}  // namespace

OfficialWeights::OfficialWeights(const base::Path& path,
                                 const std::optional<GriffinConfig>& preset) {
  Opened opened = open_file(path);
  const Naming naming = naming_of(opened.tensors);
  type_ = opened.type;
  // For each parameter, the tensor that holds it and its shape in Eyrie's layout. If any name has
  // the root "params", data sets with other roots (an optimizer's, activations) are left out.
  std::map<std::string, std::string> file_names;
  std::map<std::string, Shape> rows, surplus;
  const bool rooted =
      std::any_of(opened.tensors.shapes.begin(), opened.tensors.shapes.end(), [](const auto& one) {
        return one.first.starts_with("params/") || one.first.starts_with("params.");
      });
  for (const auto& [name, shape] : opened.tensors.shapes) {
    if (rooted && !name.starts_with("params")) continue;
    const auto row = row_name_of(name, naming);
    if (!row) {
      surplus[name] = shape;
      continue;
    }
    if (!file_names.emplace(*row, name).second) {
      throw base::InputError(fmt::format("{}: {} and {} are both the parameter {}; remove one",
                                         path.string(), file_names[*row], name, *row));
    }
    rows[*row] = shape;
    if (naming == Naming::kTorch && name.ends_with("weight"))
      std::reverse(rows[*row].begin(), rows[*row].end());
  }
  config_ = Sizes(rows, path.string()).config();
  if (!preset) throw no_preset(path.string(), config_);
  config_.window = preset->window;
  config_.soft_cap = preset->soft_cap;
  config_.scale_embedding = preset->scale_embedding;
  if (preset->layers.find('G') != std::string::npos)
    std::replace(config_.layers.begin(), config_.layers.end(), 'A', 'G');
  if (same_sizes(config_, *preset)) {
    config_.preset = preset->preset;
    config_.vocabulary = std::min(config_.vocabulary, preset->vocabulary);
  }
  check(config_);
  const auto all_rows = rows_of(config_);
  NamedTensors named{path.string(), surplus, {}};
  std::map<std::string, std::string> in_file;  // name in the table of names → name in the file
  for (const auto& row : all_rows) {
    const auto found = file_names.find(row.name);
    if (found == file_names.end()) continue;
    const NamedTensor tensor = tensors_of(row, naming).front();
    in_file[tensor.name] = found->second;
    named.shapes[tensor.name] = opened.tensors.shapes.at(found->second);
    if (row.name == kEmbedding) named.shapes[tensor.name][0] = config_.vocabulary;
    file_names.erase(found);
  }
  for (const auto& [row, name] : file_names) named.shapes[name] = opened.tensors.shapes.at(name);
  named.read = [in_file, inner = opened.tensors.read](const std::string& name, std::int64_t first,
                                                      std::int64_t count, float* out) {
    inner(in_file.at(name), first, count, out);
  };
  rows_ = std::make_unique<NamedRows>(std::move(named), naming, all_rows);
  description_ =
      fmt::format("{} (names of {})", path.string(), naming == Naming::kFlax ? "flax" : "torch");
}

}  // namespace eyrie::model
