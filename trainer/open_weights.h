// The weights of a model from wherever it lies, for copying: a run directory (its newest sound
// checkpoint), a checkpoint, a Hugging Face directory, or a file of an official release. Nothing is
// loaded; whatever reads takes tensor by tensor.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "model/weights/hugging_face.h"
#include "model/weights/weight_source.h"

namespace eyrie::trainer {

struct OpenWeightsOptions {
  std::string preset = {};       // for official releases: what their shapes do not say
  std::string tokenizer = {};    // a file or "bytes", in place of the model's own
  bool other_tokenizer = false;  // it may be another than the model's own
};

struct OpenedWeights {
  std::unique_ptr<model::WeightSource> weights;
  model::SpecialTokens tokens;
  // What belongs beside the weights in a Hugging Face directory: tokenizer, generation defaults.
  std::map<std::string, std::string> files;
  std::string tokenizer;       // a path, "bytes", or "" where there is none
  std::string tokenizer_hash;  // of the model's own, as far as it is known; else ""
};

// InputError: no model there (says what was looked for), or more than one; damaged; no tokenizer,
// or not the model's (check_tokenizer).
OpenedWeights open_weights(const std::string& place, const OpenWeightsOptions& options);

// Tokenizer files for a Hugging Face directory, and the special tokens, from a SentencePiece file
// or "bytes" (which has no file). InputError: more pieces than the model has rows.
void add_tokenizer(const std::string& tokenizer, OpenedWeights& opened);

}  // namespace eyrie::trainer
