// Opens models for evaluation and generation.
#include "checkpoint/open_model.h"

#include <fmt/format.h>

#include <filesystem>

#include "base/listing.h"
#include "base/log.h"
#include "base/version.h"
#include "checkpoint/checkpoint_weights.h"
#include "checkpoint/list.h"
#include "checkpoint/model_place.h"
#include "model/scorer.h"
#include "model/weights/fingerprint.h"
#include "model/weights/hugging_face.h"
#include "text/tokenizer_json.h"

namespace eyrie::checkpoint {
namespace {

// Returns the requested dtype, or the one the weights are stored in (fp16 is computed in fp32).
tensor::DType dtype_of(const std::string& precision, model::StoredType stored) {
  if (precision == "fp32") return tensor::DType::kFloat32;
  if (precision == "bf16") return tensor::DType::kBFloat16;
  if (!precision.empty())
    throw base::InputError(fmt::format("precision '{}' is not known; use fp32 or bf16", precision));
  return stored == model::StoredType::kBFloat16 ? tensor::DType::kBFloat16
                                                : tensor::DType::kFloat32;
}

// A run names its tokenizer by a path as given at its start: it is found again from the same
// folder.
std::string tokenizer_of(const CheckpointWeights& weights) {
  const std::string& name = weights.tokenizer();
  if (name == "bytes" || base::is_there(name)) return name;
  throw base::InputError(
      fmt::format("{} was trained with tokenizer '{}', which is not found from here; run from the "
                  "folder of the training, or name it with --tokenizer",
                  weights.description(), name));
}

void check_own_tokenizer(const OpenedModel& opened, const std::string& name,
                         const base::Path& place, const std::string& trained_hash,
                         const OpenModelOptions& options) {
  if (options.any_tokenizer) return;
  check_tokenizer(*opened.tokenizer, name, place.string(), opened.griffin->config().vocabulary,
                  trained_hash, options.other_tokenizer);
}

OpenedModel open_checkpoint(const base::Path& path, const OpenModelOptions& options) {
  const CheckpointWeights weights(path);
  OpenedModel opened;
  opened.griffin = std::make_unique<model::Griffin>(weights.config());
  opened.parameters = std::make_unique<model::InferenceParameters>(
      opened.griffin->units(), dtype_of(options.precision, weights.type()), options.decoding,
      options.int8_weights);
  const std::string name = options.tokenizer.empty() ? tokenizer_of(weights) : options.tokenizer;
  opened.tokenizer = text::open_tokenizer(name);
  if (options.tokenizer.empty() && weights.tokenizer_hash() != opened.tokenizer->hash()) {
    throw base::InputError(fmt::format("{}: the tokenizer {} has changed since the training",
                                       path.string(), weights.tokenizer()));
  }
  check_own_tokenizer(opened, name, path, weights.tokenizer_hash(), options);
  model::read_weights(weights, *opened.parameters);
  if (options.fingerprint) opened.fingerprint = model::fingerprint(weights);
  opened.step = weights.step();
  opened.run = weights.run();
  opened.description = path.string();
  return opened;
}

OpenedModel open_hugging_face(const base::Path& path, const OpenModelOptions& options) {
  const model::HuggingFaceWeights weights(path);
  OpenedModel opened;
  opened.griffin = std::make_unique<model::Griffin>(weights.config());
  opened.parameters = std::make_unique<model::InferenceParameters>(
      opened.griffin->units(), dtype_of(options.precision, weights.type()), true,
      options.int8_weights);
  const base::Path beside = path / "tokenizer.model";
  if (options.tokenizer.empty() && !base::is_there(beside)) {
    throw base::InputError(fmt::format(
        "{} has no tokenizer.model; name one with --tokenizer: a SentencePiece file, or bytes",
        path.string()));
  }
  const std::string name = options.tokenizer.empty() ? beside.string() : options.tokenizer;
  opened.tokenizer = text::open_tokenizer(name);
  if (options.tokenizer.empty() && base::is_there(path / "tokenizer.json"))
    text::check_same_vocabulary(*opened.tokenizer, beside, path / "tokenizer.json");
  check_own_tokenizer(opened, name, path, own_tokenizer_hash(path, options.tokenizer), options);
  weights.map(*opened.parameters);
  if (options.fingerprint) opened.fingerprint = model::fingerprint(weights);
  opened.description = path.string();
  return opened;
}

}  // namespace

OpenedModel open_model(const std::string& place, const OpenModelOptions& options) {
  const base::Path path = place;
  OpenedModel opened;
  switch (model_place(path)) {
    case ModelPlace::kCheckpoint:
      opened = open_checkpoint(path, options);
      break;
    case ModelPlace::kRun:
      opened = open_checkpoint(open_newest_checkpoint(path), options);
      break;
    case ModelPlace::kHuggingFace:
      opened = open_hugging_face(path, options);
      break;
    default:
      throw base::InputError(
          fmt::format("{}: no model there: neither a run (checkpoints/), a checkpoint "
                      "(manifest.json) nor a Hugging Face "
                      "directory (config.json)",
                      place));
  }
  const auto& config = opened.griffin->config();
  opened.description +=
      fmt::format(" ({}, {})", model::title_of(config, false), opened.precision());
  opened.model =
      std::make_unique<model::Scorer>(*opened.griffin, *opened.parameters, options.batch_tokens);
  return opened;
}

std::string OpenedModel::precision() const {
  return std::string(name_of(parameters->compute_dtype())) +
         (parameters->has_int8() ? " with int8 weights" : "");
}

parallel::Facts model_facts(const std::string& place, const OpenedModel& opened) {
  return {{"the version of eyrie", base::kVersion},
          {"the weights of " + place, opened.fingerprint},
          {"the precision", opened.precision()},
          {"the tokenizer", opened.tokenizer->hash()}};
}

}  // namespace eyrie::checkpoint
