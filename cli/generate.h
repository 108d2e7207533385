// The three ways of `eyrie generate`: one prompt, a file of prompts, a dialogue.
#pragma once

#include <string>
#include <vector>

#include "model/text_generator.h"
#include "trainer/open_model.h"

namespace eyrie::cli {

// Ctrl-C ended it: 128 + SIGINT, as shells say it.
constexpr int kExitInterrupted = 130;

// A line of a prompts file.
struct PromptLine {
  std::string id;  // as JSON; "" where none is given
  std::string prompt;
};

struct GenerateOptions {
  std::string place, prompt, prompts, output, state, save_state;
  bool chat = false;
  std::int64_t samples = 1;
  model::TextOptions text;
  std::vector<PromptLine> lines;  // of the file `prompts`
};

// Every line of a prompts file; so a bad one is told before the first is answered. InputError
// naming file and line.
std::vector<PromptLine> read_prompts(const std::string& file);

int generate_one(const GenerateOptions& options, const trainer::OpenedModel& opened,
                 model::Decoder& decoder);
// `lines`, answered in their order.
int generate_from_file(const GenerateOptions& options, const trainer::OpenedModel& opened,
                       model::Decoder& decoder);
int chat(const GenerateOptions& options, const trainer::OpenedModel& opened,
         model::Decoder& decoder);

// One line on stderr: tokens read and made, and how fast.
void print_counters(const std::string& description, const model::GenerationCounters& counters);

}  // namespace eyrie::cli
