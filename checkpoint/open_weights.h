// Opens a model's weights for copying, from a run directory (its newest valid checkpoint), a
// checkpoint, a Hugging Face directory, or a file of an official release. Loads nothing; readers
// take tensor by tensor.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "model/weights/hugging_face.h"
#include "model/weights/weight_source.h"

namespace eyrie::checkpoint {

struct OpenWeightsOptions {
  std::string preset = {};       // for official releases: what their shapes do not say
  std::string tokenizer = {};    // a file or "bytes", in place of the model's own
  bool other_tokenizer = false;  // it may differ from the model's own
};

struct OpenedWeights {
  std::unique_ptr<model::WeightSource> weights;
  model::SpecialTokens tokens;
  // Files that go with the weights in a Hugging Face directory: tokenizer, generation defaults.
  std::map<std::string, std::string> files;
  std::string tokenizer;       // a path, "bytes", or "" if there is none
  std::string tokenizer_hash;  // of the model's own; "" if it is not known
};

// Throws InputError if there is no model (says what was looked for) or more than one, if it is
// damaged, or if there is no tokenizer or not the model's (check_tokenizer).
OpenedWeights open_weights(const std::string& place, const OpenWeightsOptions& options);

// Adds tokenizer files for a Hugging Face directory, and the special tokens, from a SentencePiece
// file or "bytes" (which has no file). Throws InputError if it has more pieces than the model's
// table has rows.
void add_tokenizer(const std::string& tokenizer, OpenedWeights& opened);

}  // namespace eyrie::checkpoint
