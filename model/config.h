// What a Griffin model is: its sizes and choices, and the presets that have names.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/config.h"

namespace eyrie::model {

// Sizes in elements. Layer kinds, one letter a layer: R recurrent, A local attention, G global
// attention.
struct GriffinConfig {
  std::string preset;
  std::int64_t vocabulary = 0;
  std::int64_t width = 0;
  std::int64_t rnn_width = 0;
  std::int64_t mlp_width = 0;    // of each of the two branches; 3 · width in all published models
  std::int64_t heads = 0;        // query heads; one key/value head
  std::int64_t gate_blocks = 0;  // of the RG-LRU's block-diagonal gates
  std::string layers;            // "RRARRA"
  std::int64_t window = 0;       // a query sees itself and this many keys before it
  bool scale_embedding = false;  // inputs times √width rounded to bf16 (RecurrentGemma)
  double soft_cap = 0;           // of the logits; 0: none
  std::string init =
      "official";  // how weights start: official (recurrentgemma's JAX code) or paper

  std::int64_t head_dim() const { return width / heads; }
  bool is_attention(std::size_t layer) const { return layers[layer] != 'R'; }
  // How many keys before its own a query of this attention layer sees.
  std::int64_t reach(std::size_t layer) const { return layers[layer] == 'G' ? kUnlimited : window; }
  static constexpr std::int64_t kUnlimited = std::int64_t{1} << 31;
  float embedding_scale() const;  // 1 without scale_embedding
};

// InputError for a name that is not known (with the nearest one).
GriffinConfig preset(const std::string& name);
std::vector<std::string> preset_names();
// With changes "key=value", keys as in the `model:` section of a run.
GriffinConfig preset(const std::string& name, const std::vector<std::string>& changes);

// The preset's name; of a model whose sizes are others "griffin-10m, changed", or with `sizes`
// "griffin-10m, changed: width 64, layers RAR". Of names that are no preset: just the name.
std::string title_of(const GriffinConfig& config, bool sizes);

// The `model:` section of a run: a preset, and any field of it overridden. Checks that the sizes
// fit each other.
GriffinConfig read_model(base::Config section);

// InputError naming what does not fit: widths that heads or gate blocks do not divide, letters that
// are no layer.
void check(const GriffinConfig& config);

// One JSON object and back: what a checkpoint keeps. A checkpoint without `init` is of a time that
// knew the official one only.
std::string to_json(const GriffinConfig& config);
GriffinConfig from_json(const std::string& text);

}  // namespace eyrie::model
