// The README.md of an exported model: what it is and what the export chose.
#pragma once

#include <string>
#include <vector>

#include "model/weights/hugging_face_writer.h"

namespace eyrie::model {

struct CardFacts {
  std::string source;     // "runs/quickstart/checkpoints/step-00000440"
  std::string tokenizer;  // a path, "bytes", or "" if there is none
  std::vector<std::string> adaptations;
};

// Returns the text of the card. `config` and `type` are those of the exported model.
std::string model_card(const GriffinConfig& config, StoredType type, bool same_window,
                       const CardFacts& facts);

}  // namespace eyrie::model
