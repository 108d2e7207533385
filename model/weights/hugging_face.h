// A RecurrentGemma directory in the Hugging Face layout: config.json and model.safetensors (or
// several files with an index).
//
// Models that transformers cannot express (docs/hugging_face.md) are stored in the same layout,
// with model_type "eyrie_griffin" in config.json and the whole configuration under "griffin".
#pragma once

#include <memory>

#include "base/file.h"
#include "model/config.h"
#include "model/inference_parameters.h"
#include "model/weights/named_tensors.h"
#include "model/weights/weight_source.h"

namespace eyrie::model {

// Reads the sizes from config.json. The window of transformers counts a query's own key, Eyrie's
// does not: it is one less, so that both compute the same. Throws InputError naming file and key.
GriffinConfig read_hugging_face_config(const base::Path& directory);

struct SpecialTokens {
  std::int64_t bos = 2, eos = 1, pad = 0;  // Gemma's
};
// Reads those of config.json; missing ones are Gemma's.
SpecialTokens read_special_tokens(const base::Path& directory);

// Returns the hash of the model's tokenizer, which Eyrie writes to config.json; "": not known.
std::string read_tokenizer_hash(const base::Path& directory);

// Returns the text of config.json. `same_window`: attention_window_size is the window itself, with
// no 1 added. `tokenizer_hash`: "" if it is not known.
std::string hugging_face_config(const GriffinConfig& config, StoredType type,
                                const SpecialTokens& tokens, bool same_window,
                                const std::string& tokenizer_hash);
// Returns the text of generation_config.json.
std::string generation_config(const SpecialTokens& tokens);

// A directory as a source of weights. Throws InputError that lists tensors which are missing, have
// the wrong shape, or do not belong to the model.
class HuggingFaceWeights final : public WeightSource {
 public:
  explicit HuggingFaceWeights(const base::Path& directory);
  const GriffinConfig& config() const override { return config_; }
  StoredType type() const override { return type_; }
  std::string description() const override { return directory_.string(); }
  void read(const parallel::ParameterInfo& info, std::int64_t first, std::int64_t count,
            float* out) const override {
    rows_->read(info, first, count, out);
  }

  // read_weights() for inference: tensors stored in the compute dtype are memory-mapped, so that
  // they take no memory of their own and are read when they are first used. What is kept in int8 is
  // quantized from the mapped file.
  void map(InferenceParameters& parameters) const;

 private:
  struct Files;
  bool can_be_mapped(const NamedTensor& tensor, tensor::DType wanted) const;
  base::Path directory_;
  GriffinConfig config_;
  StoredType type_ = StoredType::kFloat32;
  std::shared_ptr<const Files> files_;
  std::unique_ptr<const NamedRows> rows_;
};

}  // namespace eyrie::model
