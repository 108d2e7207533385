// eyrie generate MODEL --prompt TEXT: streams text.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <chrono>
#include <cstdio>

#include "base/error.h"
#include "cli/command.h"
#include "model/generate.h"
#include "tensor/threads.h"
#include "text/utf8_stream.h"
#include "trainer/open_model.h"

namespace eyrie::cli {

int run_generate(int argc, char** argv) {
  std::string place, prompt, stop;
  std::int64_t most = 128, threads = 0;
  model::SamplingOptions sampling;
  trainer::OpenModelOptions options;
  CLI::App app("Generates text from a model.", argv[0]);
  app.add_option("MODEL", place, "run directory, checkpoint, or Hugging Face directory")
      ->required();
  app.add_option("--prompt", prompt, "the text to continue; empty: from the start of a document");
  app.add_option("--max-new", most, "tokens to make at the most")->capture_default_str();
  app.add_option("--temperature", sampling.temperature, "0: always the most probable token")
      ->capture_default_str();
  app.add_option("--top-k", sampling.top_k, "sample among the k most probable; 0: all")
      ->capture_default_str();
  app.add_option("--top-p", sampling.top_p, "sample among the most probable that make up p")
      ->capture_default_str();
  app.add_option("--seed", sampling.seed, "the same seed gives the same text")
      ->capture_default_str();
  app.add_option("--stop", stop, "ends the text where this comes up");
  app.add_option("--tokenizer", options.tokenizer, "a tokenizer file in place of the model's own");
  app.add_option("--precision", options.precision, "fp32 or bf16; default: as trained");
  app.add_option("--threads", threads, "0: all cores")->capture_default_str();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? base::kExitDone : base::kExitInput;
  }
  tensor::set_thread_count(threads > 0 ? static_cast<int>(threads) : tensor::cores());
  const trainer::OpenedModel opened = trainer::open_model(place, options);
  std::vector<std::int32_t> tokens = {opened.tokenizer->bos()};
  const auto ids = opened.tokenizer->encode(prompt);
  tokens.insert(tokens.end(), ids.begin(), ids.end());

  fmt::print("{}", prompt);
  text::Utf8Stream stream(*opened.tokenizer, ids, stop);
  const auto start = std::chrono::steady_clock::now();
  const std::int64_t made = model::generate(*opened.griffin, *opened.parameters, tokens, most,
                                            sampling, [&](std::int32_t token) {
                                              if (token == opened.tokenizer->eos()) return false;
                                              const std::string piece = stream.add(token);
                                              std::fwrite(piece.data(), 1, piece.size(), stdout);
                                              std::fflush(stdout);
                                              return !stream.stopped();
                                            });
  const std::string rest = stream.finish();
  std::fwrite(rest.data(), 1, rest.size(), stdout);
  const double taken =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  fmt::print("\n");
  fmt::print(stderr, "{}: {} tokens in {:.2f} s ({:.1f} tokens/s, prompt included)\n",
             opened.description, made, taken, static_cast<double>(made) / taken);
  return base::kExitDone;
}

}  // namespace eyrie::cli
