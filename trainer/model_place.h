// What kind of model lies at a place, and whether a tokenizer is that model's.
#pragma once

#include <string>

#include "base/file.h"
#include "text/tokenizer.h"

namespace eyrie::trainer {

// A run directory has run.yaml and checkpoints/, a checkpoint manifest.json, a Hugging Face
// directory config.json.
enum class ModelPlace { kRun, kCheckpoint, kHuggingFace, kFile, kNone };

// InputError where a folder is more than one of them: one would be taken silently.
ModelPlace model_place(const base::Path& path);

// A tokenizer for a model of `vocabulary` rows, as `name` says it; `place` is the model's.
// `trained_hash`: of the tokenizer that the model belongs to; "" where that is not known.
// InputError:
//   more pieces than the model has rows, which would read beyond them;
//   another hash than the model's own;
//   where that is not known, a model with more rows than any padding makes: over an eighth more
//   than the tokenizer has pieces, and over 1,024 more.
// With `other` (--other-tokenizer) only the first counts.
void check_tokenizer(const text::Tokenizer& tokenizer, const std::string& name,
                     const std::string& place, std::int64_t vocabulary,
                     const std::string& trained_hash, bool other);

// The hash of a Hugging Face directory's own tokenizer, for comparing `named` (--tokenizer; "":
// none) with: what config.json says; else, where one is named, that of the tokenizer.model there;
// else "".
std::string own_tokenizer_hash(const base::Path& directory, const std::string& named);

}  // namespace eyrie::trainer
