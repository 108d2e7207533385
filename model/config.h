// The configuration of a Griffin model: its sizes and options, and the named presets.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/config.h"

namespace eyrie::model {

// Sizes in elements. `layers` has one letter per layer: R recurrent, A local attention, G global
// attention.
struct GriffinConfig {
  std::string preset;
  std::int64_t vocabulary = 0;
  std::int64_t width = 0;
  std::int64_t rnn_width = 0;
  std::int64_t mlp_width = 0;     // of each of the two branches; 3 · width in all published models
  std::int64_t heads = 0;         // query heads; one key/value head
  std::int64_t gate_blocks = 0;   // of the RG-LRU's block-diagonal gates
  std::string layers;             // "RRARRA"
  std::int64_t window = 0;        // a query sees itself and this many keys before it
  bool scale_embedding = false;   // embeddings times √width rounded to bf16 (RecurrentGemma)
  double soft_cap = 0;            // of the logits; 0: no cap
  std::string init = "official";  // initialisation: official (recurrentgemma's JAX code) or paper

  std::int64_t head_dim() const { return width / heads; }
  bool is_attention(std::size_t layer) const { return layers[layer] != 'R'; }
  // Returns how many keys a query of this attention layer sees before its own.
  std::int64_t reach(std::size_t layer) const { return layers[layer] == 'G' ? kUnlimited : window; }
  static constexpr std::int64_t kUnlimited = std::int64_t{1} << 31;
  float embedding_scale() const;  // 1 without scale_embedding
};

// Throws InputError, which suggests the nearest name, if the name is not known.
GriffinConfig preset(const std::string& name);
std::vector<std::string> preset_names();
// Applies changes "key=value"; the keys are those of the `model:` section of a run.
GriffinConfig preset(const std::string& name, const std::vector<std::string>& changes);

// Returns the preset's name; if the configuration differs from its preset "griffin-10m, changed",
// or with `sizes` "griffin-10m, changed: width 64, layers RAR". A name that is not a preset is
// returned as it is.
std::string title_of(const GriffinConfig& config, bool sizes);

// Reads the `model:` section of a run: a preset and overrides of its fields. Checks that the sizes
// fit together.
GriffinConfig read_model(base::Config section);

// Throws InputError naming what does not fit: a width that the heads or gate blocks do not divide,
// or a letter that is not a layer kind.
void check(const GriffinConfig& config);

// To and from one JSON object, as checkpoints store it. A checkpoint without `init` is from before
// there was a choice: its initialisation is the official one.
std::string to_json(const GriffinConfig& config);
GriffinConfig from_json(const std::string& text);

}  // namespace eyrie::model
