// Opening models for evaluation and generation.
#include "trainer/open_model.h"

#include <fmt/format.h>

#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>

#include "base/log.h"
#include "model/hugging_face.h"
#include "model/scorer.h"
#include "trainer/checkpoint.h"

namespace eyrie::trainer {
namespace {

using nlohmann::json;

tensor::DType dtype_of(const std::string& precision, const std::string& fallback) {
  const std::string name = precision.empty() ? fallback : precision;
  if (name == "fp32") return tensor::DType::kFloat32;
  if (name == "bf16") return tensor::DType::kBFloat16;
  throw base::InputError(fmt::format("precision '{}' is not known; use fp32 or bf16", name));
}

// A tokenizer named by a run is a path as the run was started: from the same folder it is found
// again.
std::string tokenizer_of(const json& state, const std::string& checkpoint) {
  const std::string name = state.at("tokenizer").get<std::string>();
  if (name == "bytes" || std::filesystem::exists(name)) return name;
  throw base::InputError(
      fmt::format("{} was trained with tokenizer '{}', which is not found from here; run from the "
                  "folder of the "
                  "training, or name it with --tokenizer",
                  checkpoint, name));
}

// Row by row: a checkpoint's pieces are read, and checked, whole.
void fill(model::Parameters& parameters,
          const std::function<void(const parallel::ParameterRow&, std::span<float>)>& read) {
  std::vector<float> values;
  for (std::size_t u = 0; u < parameters.units().size(); ++u) {
    const auto& rows = parameters.units()[u].rows;
    for (std::size_t r = 0; r < rows.size(); ++r) {
      values.resize(static_cast<std::size_t>(rows[r].count()));
      read(rows[r], values);
      parameters.store(u, static_cast<int>(r), 0, values);
    }
  }
}

OpenedModel open_checkpoint(const base::Path& path, const OpenModelOptions& options) {
  const CheckpointReader reader(path);
  OpenedModel opened;
  try {
    const json state = json::parse(reader.state());
    const auto config = model::from_json(state.at("model").dump());
    opened.griffin = std::make_unique<model::Griffin>(config);
    opened.parameters = std::make_unique<model::Parameters>(model::Parameters::for_inference(
        opened.griffin->units(),
        dtype_of(options.precision, state.at("precision").get<std::string>()), options.decoding));
    opened.tokenizer = text::open_tokenizer(
        options.tokenizer.empty() ? tokenizer_of(state, path.string()) : options.tokenizer);
    if (options.tokenizer.empty() && state.at("tokenizer_hash") != opened.tokenizer->hash()) {
      throw base::InputError(fmt::format("{}: the tokenizer {} has changed since the training",
                                         path.string(), state.at("tokenizer").get<std::string>()));
    }
  } catch (const json::exception& error) {
    throw base::InputError(fmt::format("{}: its state is not that of a training run: {}",
                                       path.string(), error.what()));
  }
  fill(*opened.parameters, [&](const parallel::ParameterRow& row, std::span<float> out) {
    reader.read("parameters/" + row.name, row.start, row.extent, 0, row.count(), out.data());
  });
  opened.description = path.string();
  return opened;
}

OpenedModel open_hugging_face(const base::Path& path, const OpenModelOptions& options) {
  OpenedModel opened;
  opened.griffin = std::make_unique<model::Griffin>(model::read_hugging_face_config(path));
  opened.parameters = std::make_unique<model::Parameters>(opened.griffin->units(),
                                                          dtype_of(options.precision, "fp32"));
  model::read_hugging_face_weights(path, *opened.parameters);
  const base::Path beside = path / "tokenizer.model";
  if (options.tokenizer.empty() && !std::filesystem::exists(beside)) {
    throw base::InputError(
        fmt::format("{} has no tokenizer.model; name one with --tokenizer", path.string()));
  }
  opened.tokenizer =
      text::open_tokenizer(options.tokenizer.empty() ? beside.string() : options.tokenizer);
  opened.description = path.string();
  return opened;
}

}  // namespace

OpenedModel open_model(const std::string& place, const OpenModelOptions& options) {
  const base::Path path = place;
  OpenedModel opened;
  if (std::filesystem::exists(path / "manifest.json")) {
    opened = open_checkpoint(path, options);
  } else if (std::filesystem::exists(path / "checkpoints")) {
    std::vector<std::string> why_not;
    const auto newest = newest_valid_checkpoint(path, &why_not);
    for (const std::string& why : why_not) base::log_warning(why);
    if (!newest)
      throw base::InputError(fmt::format("{}: the run has no valid checkpoint yet", place));
    opened = open_checkpoint(*newest, options);
  } else if (std::filesystem::exists(path / "config.json")) {
    opened = open_hugging_face(path, options);
  } else {
    throw base::InputError(
        fmt::format("{}: no model there: neither a run (checkpoints/), a checkpoint "
                    "(manifest.json) nor a Hugging Face "
                    "directory (config.json)",
                    place));
  }
  const auto& config = opened.griffin->config();
  if (opened.tokenizer->size() > config.vocabulary) {
    throw base::InputError(
        fmt::format("{}: the tokenizer has {} pieces, the model a vocabulary of {}", place,
                    opened.tokenizer->size(), config.vocabulary));
  }
  opened.description +=
      fmt::format(" ({}, {})", config.preset, name_of(opened.parameters->compute()));
  opened.model =
      std::make_unique<model::Scorer>(*opened.griffin, *opened.parameters, options.batch_tokens);
  return opened;
}

}  // namespace eyrie::trainer
