// Writes a model as a Hugging Face directory, one tensor at a time.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "base/file.h"
#include "model/weights/hugging_face.h"
#include "model/weights/weight_source.h"

namespace eyrie::model {

struct HuggingFaceOptions {
  std::optional<StoredType> type = {};  // nothing: the source's
  std::int64_t shard_bytes = 5'000'000'000;
  bool same_window = false;  // attention_window_size = window, not window + 1
  SpecialTokens tokens = {};
  std::string tokenizer_hash = {};                // of the model's own; empty: not known
  std::map<std::string, std::string> files = {};  // beside the weights: name → contents
};

struct HuggingFaceWritten {
  std::int64_t parameters = 0, bytes = 0;
  std::size_t weight_files = 0;
  StoredType type = StoredType::kFloat32;
};

// InputError where the directory is there with anything in it, or cannot be made or written: before
// work is put into what is to be written there.
void check_empty(const base::Path& directory);

// InputError as check_empty has it. config.json comes last: without it
// a directory is no model. A failure removes what was written.
HuggingFaceWritten write_hugging_face(const WeightSource& source, const base::Path& directory,
                                      const HuggingFaceOptions& options);

}  // namespace eyrie::model
