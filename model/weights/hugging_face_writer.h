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
  std::optional<StoredType> type = {};  // nullopt: the source's type
  std::int64_t shard_bytes = 5'000'000'000;
  bool same_window = false;  // attention_window_size = window, not window + 1
  SpecialTokens tokens = {};
  std::string tokenizer_hash = {};                // of the model's tokenizer; empty: not known
  std::map<std::string, std::string> files = {};  // further files: name → contents
};

struct HuggingFaceWritten {
  std::int64_t parameters = 0, bytes = 0;
  std::size_t weight_files = 0;
  StoredType type = StoredType::kFloat32;
};

// Throws InputError if the directory exists and is not empty, or cannot be created or written.
// Called before the work that produces what is to be written.
void check_empty(const base::Path& directory);

// Throws InputError as check_empty() does. config.json is written last: a directory without it is
// not a model. On failure the files written so far are removed.
HuggingFaceWritten write_hugging_face(const WeightSource& source, const base::Path& directory,
                                      const HuggingFaceOptions& options);

}  // namespace eyrie::model
