// A RecurrentGemma directory as Hugging Face keeps it: config.json and model.safetensors (or
// several, by their index).
#pragma once

#include "base/file.h"
#include "model/config.h"
#include "model/parameters.h"

namespace eyrie::model {

// Sizes from config.json. transformers counts the keys that a query sees with itself, Eyrie those
// before it: its window is one less, so that both compute the same. InputError names file and key.
GriffinConfig read_hugging_face_config(const base::Path& directory);

// Fills the masters (of whole units, not sliced) and refreshes. Every tensor of the model must be
// there with its shape; tensors that no parameter takes are an error that names them.
void read_hugging_face_weights(const base::Path& directory, Parameters& parameters);

}  // namespace eyrie::model
