// Finds the model at a path, and the tokenizer that belongs to it.
#include "checkpoint/open_weights.h"

#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/listing.h"
#include "base/log.h"
#include "checkpoint/checkpoint_weights.h"
#include "checkpoint/list.h"
#include "checkpoint/model_place.h"
#include "model/weights/official_weights.h"
#include "text/tokenizer.h"
#include "text/tokenizer_json.h"

namespace eyrie::checkpoint {
namespace {

// The files that transformers stores next to the weights.
constexpr const char* kBeside[] = {
    "tokenizer.model",   "tokenizer.json",      "tokenizer_config.json", "special_tokens_map.json",
    "added_tokens.json", "chat_template.jinja", "generation_config.json"};

void check_own_tokenizer(const std::string& tokenizer, const base::Path& place,
                         const std::string& trained_hash, const OpenWeightsOptions& options,
                         const OpenedWeights& opened) {
  check_tokenizer(*text::open_tokenizer(tokenizer), tokenizer, place.string(),
                  opened.weights->config().vocabulary, trained_hash, options.other_tokenizer);
}

void open_checkpoint(const base::Path& path, const OpenWeightsOptions& options,
                     OpenedWeights& opened) {
  auto weights = std::make_unique<CheckpointWeights>(path);
  std::string tokenizer = options.tokenizer;
  if (tokenizer.empty()) {
    tokenizer = weights->tokenizer();
    if (tokenizer != "bytes" && !base::is_there(tokenizer)) {
      throw base::InputError(
          fmt::format("{} was trained with tokenizer '{}', which is not found from here; run from "
                      "the folder of the training, or name it with --tokenizer",
                      path.string(), tokenizer));
    }
    if (text::open_tokenizer(tokenizer)->hash() != weights->tokenizer_hash()) {
      throw base::InputError(fmt::format("{}: the tokenizer {} has changed since the training",
                                         path.string(), tokenizer));
    }
  }
  const std::string trained_hash = weights->tokenizer_hash();
  opened.weights = std::move(weights);
  check_own_tokenizer(tokenizer, path, trained_hash, options, opened);
  add_tokenizer(tokenizer, opened);
}

void open_hugging_face(const base::Path& path, const OpenWeightsOptions& options,
                       OpenedWeights& opened) {
  opened.weights = std::make_unique<model::HuggingFaceWeights>(path);
  opened.tokens = model::read_special_tokens(path);
  for (const char* name : kBeside) {
    if (base::is_there(path / name)) opened.files[name] = base::read_file(path / name);
  }
  if (opened.files.contains("tokenizer.model")) opened.tokenizer = path / "tokenizer.model";
  opened.tokenizer_hash = own_tokenizer_hash(path, options.tokenizer);
  const std::string name = options.tokenizer.empty() ? opened.tokenizer : options.tokenizer;
  if (name.empty()) return;
  check_own_tokenizer(name, path, opened.tokenizer_hash, options, opened);
  if (options.tokenizer.empty()) {
    const auto own = text::open_tokenizer(name);
    opened.tokenizer_hash = own->hash();
    if (opened.files.contains("tokenizer.json"))
      text::check_same_vocabulary(*own, name, path / "tokenizer.json");
    return;
  }
  std::erase_if(opened.files,
                [](const auto& file) { return file.first != "generation_config.json"; });
  add_tokenizer(options.tokenizer, opened);
}

}  // namespace

void add_tokenizer(const std::string& tokenizer, OpenedWeights& opened) {
  const auto read = text::open_tokenizer(tokenizer);
  const std::int64_t vocabulary = opened.weights->config().vocabulary;
  if (read->size() > vocabulary) {
    throw base::InputError(
        fmt::format("the tokenizer {} has {} pieces, the model a vocabulary of {}", tokenizer,
                    read->size(), vocabulary));
  }
  opened.tokenizer = tokenizer;
  opened.tokenizer_hash = read->hash();
  // Padding is masked wherever it is used, so the end-of-document token serves as padding.
  opened.tokens = {read->bos(), read->eos(), read->eos()};
  if (tokenizer == "bytes") return;
  opened.files["tokenizer.model"] = base::read_file(tokenizer);
  // Whether a word at the start of a text is encoded like one in the middle: "▁a" for "a".
  // transformers does not read that from the file.
  const auto letter = read->encode("a");
  const bool prefix = !letter.empty() && read->piece(letter.front()).starts_with("▁");
  const std::string bos = read->piece(read->bos()), eos = read->piece(read->eos());
  opened.files["tokenizer_config.json"] =
      nlohmann::ordered_json{{"tokenizer_class", "LlamaTokenizer"},
                             {"bos_token", bos},
                             {"eos_token", eos},
                             {"pad_token", eos},
                             {"unk_token", read->piece(0)},
                             {"add_bos_token", true},
                             {"add_eos_token", false},
                             {"add_prefix_space", prefix},
                             {"legacy", false},
                             {"clean_up_tokenization_spaces", false}}
          .dump(2) +
      "\n";
}

OpenedWeights open_weights(const std::string& place, const OpenWeightsOptions& options) {
  const base::Path path = place;
  OpenedWeights opened;
  if (!options.preset.empty() && base::is_folder(path)) {
    throw base::InputError(fmt::format(
        "{} has a configuration of its own; --preset is for the files of official releases",
        place));
  }
  switch (model_place(path)) {
    case ModelPlace::kCheckpoint:
      open_checkpoint(path, options, opened);
      break;
    case ModelPlace::kRun:
      open_checkpoint(open_newest_checkpoint(path), options, opened);
      break;
    case ModelPlace::kHuggingFace:
      open_hugging_face(path, options, opened);
      break;
    case ModelPlace::kFile:
      opened.weights = std::make_unique<model::OfficialWeights>(
          path,
          options.preset.empty() ? std::nullopt : std::optional(model::preset(options.preset)));
      if (options.tokenizer.empty()) break;
      check_own_tokenizer(options.tokenizer, path, "", options, opened);
      add_tokenizer(options.tokenizer, opened);
      break;
    default:
      throw base::InputError(
          fmt::format("{}: no model there: neither a run (checkpoints/), a checkpoint "
                      "(manifest.json), a Hugging Face directory (config.json) nor a file of an "
                      "official release (.safetensors, .h5)",
                      place));
  }
  return opened;
}

}  // namespace eyrie::checkpoint
