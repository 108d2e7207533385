// eyrie model init --preset NAME OUT: writes a model with random weights as a Hugging Face
// directory.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "base/error.h"
#include "checkpoint/open_weights.h"
#include "cli/command.h"
#include "cli/flags.h"
#include "cli/model_files.h"
#include "model/weights/hugging_face_writer.h"
#include "model/weights/initial_weights.h"
#include "tensor/cores.h"
#include "tensor/threads.h"

namespace eyrie::cli {

int run_model_init(int argc, char** argv) {
  std::string out, preset, tokenizer;
  std::vector<std::string> changes;
  WritingFlags writing;
  std::uint64_t seed = 1;
  CLI::App app("Writes a model with random weights (docs/hugging_face.md).", argv[0]);
  app.add_option("OUT", out, "the Hugging Face directory to write")->required();
  app.add_option("CHANGES", changes, "key=value over the preset's: layers=RRGRRA vocabulary=32000");
  app.add_option("--preset", preset, "griffin-10m, recurrentgemma-2b, …")->required();
  add_seed(app, seed, "the same seed gives the same weights");
  app.add_option("--tokenizer", tokenizer, "a SentencePiece file to put beside the weights");
  add_writing_flags(app, writing, "fp32, bf16 or fp16; default: fp32");
  if (const auto end = parse(app, argc, argv)) return *end;
  model::check_empty(out);  // before the weights are read
  tensor::use_threads(writing.threads);
  checkpoint::OpenedWeights opened;
  opened.weights = std::make_unique<model::InitialWeights>(model::preset(preset, changes), seed);
  if (!tokenizer.empty()) checkpoint::add_tokenizer(tokenizer, opened);
  model::HuggingFaceOptions options = writing.options();
  options.tokens = opened.tokens;
  options.files = opened.files;
  options.tokenizer_hash = opened.tokenizer_hash;
  print_written(model::write_hugging_face(*opened.weights, out, options), out);
  return base::kExitDone;
}

}  // namespace eyrie::cli
