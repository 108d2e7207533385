// A RecurrentGemma directory as Hugging Face keeps it: config.json and model.safetensors (or
// several, by their index).
//
// Models that transformers cannot express (docs/hugging_face.md) lie in directories of the same
// layout, whose config.json has model_type "eyrie_griffin" and the whole configuration under
// "griffin".
#pragma once

#include <memory>

#include "base/file.h"
#include "model/config.h"
#include "model/parameters.h"
#include "model/weights/named_tensors.h"
#include "model/weights/weight_source.h"

namespace eyrie::model {

// Sizes from config.json. transformers counts the keys that a query sees with itself, Eyrie those
// before it: its window is one less, so that both compute the same. InputError names file and key.
GriffinConfig read_hugging_face_config(const base::Path& directory);

struct SpecialTokens {
  std::int64_t bos = 2, eos = 1, pad = 0;  // Gemma's
};
// Those of config.json; what it does not have is Gemma's.
SpecialTokens read_special_tokens(const base::Path& directory);

// The hash of the tokenizer that the model belongs to, which Eyrie writes there; "": not known.
std::string read_tokenizer_hash(const base::Path& directory);

// config.json. `same_window`: attention_window_size is the window, not the window and one.
// `tokenizer_hash`: "" where it is not known.
std::string hugging_face_config(const GriffinConfig& config, StoredType type,
                                const SpecialTokens& tokens, bool same_window,
                                const std::string& tokenizer_hash);
// generation_config.json.
std::string generation_config(const SpecialTokens& tokens);

// A directory as a source of weights. Every tensor of the model must be there with its shape, and
// no other: InputError that lists them.
class HuggingFaceWeights final : public WeightSource {
 public:
  explicit HuggingFaceWeights(const base::Path& directory);
  const GriffinConfig& config() const override { return config_; }
  StoredType type() const override { return type_; }
  std::string description() const override { return directory_.string(); }
  void read(const parallel::ParameterRow& row, std::int64_t first, std::int64_t count,
            float* out) const override {
    rows_->read(row, first, count, out);
  }

  // read_weights() for parameters of inference: what is stored in the compute dtype is mapped, so
  // that it takes no memory of its own and is read when it is first used.
  void map(Parameters& parameters) const;

 private:
  struct Files;
  base::Path directory_;
  GriffinConfig config_;
  StoredType type_ = StoredType::kFloat32;
  std::shared_ptr<const Files> files_;
  std::unique_ptr<const NamedRows> rows_;
};

}  // namespace eyrie::model
