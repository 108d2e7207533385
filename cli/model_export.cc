// eyrie model export MODEL HF_DIR: writes a directory that transformers can load.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <CLI/CLI.hpp>

#include "base/error.h"
#include "base/output.h"
#include "checkpoint/open_weights.h"
#include "cli/command.h"
#include "cli/flags.h"
#include "cli/model_files.h"
#include "model/weights/model_card.h"
#include "model/weights/transformers_form.h"
#include "tensor/cores.h"
#include "tensor/threads.h"

namespace eyrie::cli {
namespace {

// The weights are not changed unless the user asks for it: throws InputError with the obstacles.
void refuse(const std::string& place, const std::vector<model::Obstacle>& obstacles) {
  std::string message =
      fmt::format("{}: transformers' RecurrentGemma cannot express this model:", place);
  bool adaptable = true;
  for (const model::Obstacle& obstacle : obstacles) {
    message += "\n  " + obstacle.why;
    message += obstacle.adapting.empty() ? "; this cannot be adapted"
                                         : "; --adapt writes " + obstacle.adapting;
    adaptable = adaptable && !obstacle.adapting.empty();
  }
  message += adaptable ? "\nWith --adapt the weights are rewritten so that it computes the same."
                       : "\nUse `eyrie model import` to copy it for Eyrie's own use.";
  throw base::InputError(message);
}

}  // namespace

int run_model_export(int argc, char** argv) {
  std::string place, out, window = "plus-one";
  bool adapt = false;
  WritingFlags writing;
  checkpoint::OpenWeightsOptions opening;
  CLI::App app("Writes a model so that transformers loads it (docs/hugging_face.md).", argv[0]);
  app.add_option("MODEL", place, "run directory, checkpoint, or Hugging Face directory")
      ->required();
  app.add_option("HF_DIR", out, "the directory to write")->required();
  app.add_option("--window", window,
                 "plus-one: transformers sees the same tokens as Eyrie; same: the number unchanged")
      ->capture_default_str()
      ->check(CLI::IsMember({"plus-one", "same"}));
  app.add_flag("--adapt", adapt,
               "rewrite what transformers cannot express, where that is possible");
  app.add_option("--preset", opening.preset,
                 "official releases: has the window, soft cap and embedding scale");
  app.add_option("--tokenizer", opening.tokenizer, "a tokenizer file in place of the model's own");
  app.add_flag("--other-tokenizer", opening.other_tokenizer,
               "take a tokenizer that is not the model's own");
  add_writing_flags(app, writing, "fp32, bf16 or fp16; default: as trained");
  if (const auto end = parse(app, argc, argv)) return *end;
  model::check_empty(out);  // before the weights are read
  tensor::use_threads(writing.threads);
  const checkpoint::OpenedWeights opened = checkpoint::open_weights(place, opening);
  const std::vector<model::Obstacle> obstacles = model::obstacles(opened.weights->config());
  std::unique_ptr<model::WeightSource> adapted;
  model::CardFacts facts{opened.weights->description(), opened.tokenizer, {}};
  if (!obstacles.empty()) {
    if (!adapt) refuse(place, obstacles);
    adapted = model::adapt(*opened.weights);
    for (const model::Obstacle& obstacle : obstacles) {
      facts.adaptations.push_back(fmt::format("{}; written: {}", obstacle.why, obstacle.adapting));
      base::print("adapted: {}\n", facts.adaptations.back());
    }
  }
  const model::WeightSource& source = adapted ? *adapted : *opened.weights;
  model::HuggingFaceOptions options = writing.options();
  options.same_window = window == "same";
  options.tokens = opened.tokens;
  options.files = opened.files;
  options.tokenizer_hash = opened.tokenizer_hash;
  options.files["README.md"] = model::model_card(
      source.config(), options.type.value_or(source.type()), options.same_window, facts);
  print_written(model::write_hugging_face(source, out, options), out);
  return base::kExitDone;
}

}  // namespace eyrie::cli
