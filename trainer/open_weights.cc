// Finding what lies at a place, and the tokenizer that belongs to it.
#include "trainer/open_weights.h"

#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/listing.h"
#include "base/log.h"
#include "model/weights/official_weights.h"
#include "text/tokenizer.h"
#include "trainer/checkpoint_weights.h"

namespace eyrie::trainer {
namespace {

// What transformers keeps beside the weights.
constexpr const char* kBeside[] = {
    "tokenizer.model",   "tokenizer.json",      "tokenizer_config.json", "special_tokens_map.json",
    "added_tokens.json", "chat_template.jinja", "generation_config.json"};

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
  opened.weights = std::move(weights);
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
  if (options.tokenizer.empty()) return;
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
  // Padding is masked wherever it is used: the end of a document serves for it.
  opened.tokens = {read->bos(), read->eos(), read->eos()};
  if (tokenizer == "bytes") return;
  opened.files["tokenizer.model"] = base::read_file(tokenizer);
  // Whether a text begins as a word in its middle does: "▁a" for "a". transformers does not look
  // that up in the file.
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
  if (base::is_there(path / "manifest.json")) {
    open_checkpoint(path, options, opened);
  } else if (base::is_there(path / "checkpoints")) {
    open_checkpoint(open_newest_checkpoint(path), options, opened);
  } else if (base::is_there(path / "config.json")) {
    open_hugging_face(path, options, opened);
  } else if (base::is_regular_file(path)) {
    opened.weights = std::make_unique<model::OfficialWeights>(
        path, options.preset.empty() ? std::nullopt : std::optional(model::preset(options.preset)));
    if (!options.tokenizer.empty()) add_tokenizer(options.tokenizer, opened);
  } else {
    throw base::InputError(
        fmt::format("{}: no model there: neither a run (checkpoints/), a checkpoint "
                    "(manifest.json), a Hugging Face directory (config.json) nor a file of an "
                    "official release (.safetensors, .h5)",
                    place));
  }
  return opened;
}

}  // namespace eyrie::trainer
