// The text of a model card.
#include "model/weights/model_card.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace eyrie::model {
namespace {

std::string window_text(const GriffinConfig& config, bool same_window) {
  if (config.layers.find('A') == std::string::npos) return "No layer has attention.";
  const std::int64_t written = config.window + (same_window ? 0 : 1);
  if (same_window) {
    return fmt::format(
        "`attention_window_size` is {0}, the value of the training, unchanged. transformers counts "
        "the token itself among them, Eyrie and the official code do not: from token {0} on "
        "(counted "
        "from 0) transformers sees one token less than the model was trained with, and its numbers "
        "differ a little.",
        written);
  }
  return fmt::format(
      "`attention_window_size` is {}: the {} tokens before its own that a token sees in training, "
      "and itself, because transformers counts it. The numbers are equal at any length.",
      written, config.window);
}

}  // namespace

std::string model_card(const GriffinConfig& config, StoredType type, bool same_window,
                       const CardFacts& facts) {
  std::int64_t parameters = 0;
  for (const auto& row : rows_of(config)) parameters += row.count();
  const auto of_kind = [&](char letter) {
    return std::count(config.layers.begin(), config.layers.end(), letter);
  };
  std::string text = fmt::format(
      "---\nlibrary_name: transformers\n---\n\n# A Griffin model\n\n"
      "Exported by `eyrie model export` from `{}`.\n\n"
      "| | |\n|---|---|\n| parameters | {} |\n| layers | {} recurrent, {} attention |\n"
      "| width, recurrent width, MLP width | {}, {}, {} |\n| heads, gate blocks | {}, {} |\n"
      "| vocabulary | {} |\n| weights | {} |\n\n## Choices of the export\n\n",
      facts.source, parameters, of_kind('R'), of_kind('A') + of_kind('G'), config.width,
      config.rnn_width, config.mlp_width, config.heads, config.gate_blocks, config.vocabulary,
      name_of(type));
  text += fmt::format("- Window. {}\n", window_text(config, same_window));
  text += fmt::format(
      "- Precision. The weights are {}{}.\n", name_of(type),
      type == StoredType::kFloat32 ? "" : ", rounded to the nearest where the model had more bits");
  if (facts.tokenizer.empty()) {
    text += "- Tokenizer. The model came without one; put its files here.\n";
  } else if (facts.tokenizer == "bytes") {
    text +=
        "- Tokenizer. Tokens are the bytes of UTF-8 text (0 to 255), 256 starts a document, 257 "
        "ends it. transformers has no class for that: make the list of ids yourself.\n";
  } else {
    text +=
        "- Tokenizer. A SentencePiece model, `tokenizer.model`. transformers' class for it leaves "
        "blanks as they are: where this file merges them, take the sentencepiece package.\n";
  }
  for (const std::string& adaptation : facts.adaptations)
    text += fmt::format("- Adapted. {}.\n", adaptation);
  if (!facts.adaptations.empty()) {
    text += "\nAdapted weights compute the same function, but not with the same rounding.\n";
  }
  return text;
}

}  // namespace eyrie::model
