// eyrie model import SOURCE OUT: checks weights from other programs and writes them as a directory
// that all commands open.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "base/error.h"
#include "base/output.h"
#include "checkpoint/open_weights.h"
#include "cli/command.h"
#include "cli/flags.h"
#include "cli/model_files.h"
#include "tensor/cores.h"
#include "tensor/threads.h"

namespace eyrie::cli {

int run_model_import(int argc, char** argv) {
  std::string place, out;
  WritingFlags writing;
  checkpoint::OpenWeightsOptions opening;
  CLI::App app("Checks and copies weights of other releases (docs/hugging_face.md).", argv[0]);
  app.add_option("HF_DIR", place,
                 "a Hugging Face directory, or a .safetensors or .h5 file with the names of the "
                 "official flax or torch release")
      ->required();
  app.add_option("OUT", out, "the directory to write")->required();
  app.add_option("--preset", opening.preset,
                 "official releases: has the window, soft cap and embedding scale");
  app.add_option("--tokenizer", opening.tokenizer, "a SentencePiece file to put beside");
  app.add_flag("--other-tokenizer", opening.other_tokenizer,
               "take a tokenizer that is not the model's own");
  add_writing_flags(app, writing, "fp32, bf16 or fp16; default: as it is");
  if (const auto end = parse(app, argc, argv)) return *end;
  model::check_empty(out);  // before the weights are read
  tensor::use_threads(writing.threads);
  const checkpoint::OpenedWeights opened = checkpoint::open_weights(place, opening);
  model::HuggingFaceOptions options = writing.options();
  options.tokens = opened.tokens;
  options.files = opened.files;
  options.tokenizer_hash = opened.tokenizer_hash;
  print_written(model::write_hugging_face(*opened.weights, out, options), out);
  if (opened.tokenizer.empty()) {
    base::print("it has no tokenizer.model: name a tokenizer with --tokenizer where it is used\n");
  }
  return base::kExitDone;
}

}  // namespace eyrie::cli
