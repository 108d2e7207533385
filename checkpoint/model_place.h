// What kind of model is at a path, and whether a tokenizer belongs to it.
#pragma once

#include <string>

#include "base/file.h"
#include "text/tokenizer.h"

namespace eyrie::checkpoint {

// A run directory has run.yaml and checkpoints/, a checkpoint manifest.json, a Hugging Face
// directory config.json.
enum class ModelPlace { kRun, kCheckpoint, kHuggingFace, kFile, kNone };

// Throws InputError if a folder is more than one of them, since one would be chosen silently.
ModelPlace model_place(const base::Path& path);

// Checks that the tokenizer `name` fits the model at `place`, whose table has `vocabulary` rows.
// `trained_hash`: of the model's own tokenizer; "" if it is not known. Throws InputError for:
//   more pieces than the table has rows, which would read beyond it;
//   a hash other than that of the model's own tokenizer;
//   if that is not known, a table with more rows than any padding makes: over an eighth more than
//   the tokenizer has pieces, and over 1,024 more.
// With `other` (--other-tokenizer) only the first is checked.
void check_tokenizer(const text::Tokenizer& tokenizer, const std::string& name,
                     const std::string& place, std::int64_t vocabulary,
                     const std::string& trained_hash, bool other);

// Returns the hash of a Hugging Face directory's own tokenizer, to compare `named` (--tokenizer;
// "": none) with: the one in config.json; else, if `named` is given, that of tokenizer.model there;
// else "".
std::string own_tokenizer_hash(const base::Path& directory, const std::string& named);

}  // namespace eyrie::checkpoint
