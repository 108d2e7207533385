// Opens a model from a run directory (its newest valid checkpoint), a checkpoint, or a Hugging Face
// directory.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "model/griffin.h"
#include "model/inference_parameters.h"
#include "model/language_model.h"
#include "parallel/communication/same.h"
#include "text/tokenizer.h"

namespace eyrie::checkpoint {

struct OpenModelOptions {
  std::string precision = {};  // "fp32", "bf16", or "" for what it was trained or is stored in
  bool int8_weights = false;   // linear layers and embedding in int8, whatever the precision
  std::int64_t batch_tokens = 4096;
  bool decoding = false;         // weights laid out for decoding; else for training's bits
  std::string tokenizer = {};    // a file, in place of the model's own
  bool other_tokenizer = false;  // it may differ from the model's own
  bool any_tokenizer = false;    // no text is read: any tokenizer will do
  bool fingerprint = false;      // of the weights: reads them to compute it
};

struct OpenedModel {
  std::unique_ptr<model::Griffin> griffin;
  std::unique_ptr<model::InferenceParameters> parameters;
  std::unique_ptr<model::LanguageModel> model;  // of the two above
  std::shared_ptr<const text::Tokenizer> tokenizer;
  std::string fingerprint;           // of the weights, if it was requested
  std::optional<std::int64_t> step;  // of a checkpoint
  std::string run;                   // the configuration of its run, as YAML
  std::string description;        // "runs/quickstart/checkpoints/step-00000200 (griffin-10m, bf16)"
  std::string precision() const;  // "bf16", "bf16 with int8 weights"
};

// Every rank opens the whole model. Throws InputError if there is no model (says what was looked
// for) or more than one, if it is damaged or has weights that are not finite, or if there is no
// tokenizer or not the model's (check_tokenizer).
OpenedModel open_model(const std::string& place, const OpenModelOptions& options);

// For ranks to compare, since each may have opened a file on its own node's disk: the version of
// Eyrie, the model's fingerprint (which must have been requested) and precision, the tokenizer.
parallel::Facts model_facts(const std::string& place, const OpenedModel& opened);

}  // namespace eyrie::checkpoint
