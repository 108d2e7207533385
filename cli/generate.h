// The three modes of `eyrie generate`: one prompt, a file of prompts, a dialogue.
#pragma once

#include <string>
#include <vector>

#include "checkpoint/open_model.h"
#include "generation/text_generator.h"

namespace eyrie::cli {

// Exit status after Ctrl-C: 128 + SIGINT, as in shells.
constexpr int kExitInterrupted = 130;

// One line of a prompts file.
struct PromptLine {
  std::string id;  // as JSON; "" if there is none
  std::string prompt;
};

struct GenerateOptions {
  std::string place, prompt, prompts, output, state, save_state;
  bool chat = false;
  std::int64_t samples = 1;
  generation::TextOptions text;
  std::vector<PromptLine> lines;  // the lines of the file `prompts`
};

// Reads all lines of a prompts file, so that a bad line is reported before the first prompt is
// answered. Throws InputError naming file and line.
std::vector<PromptLine> read_prompts(const std::string& file);

int generate_one(const GenerateOptions& options, const checkpoint::OpenedModel& opened,
                 generation::Decoder& decoder);
// Answers `lines` in their order.
int generate_from_file(const GenerateOptions& options, const checkpoint::OpenedModel& opened,
                       generation::Decoder& decoder);
int chat(const GenerateOptions& options, const checkpoint::OpenedModel& opened,
         generation::Decoder& decoder);

// Prints one line to stderr: tokens read and generated, and the speed.
void print_counters(const std::string& description, const generation::GenerationCounters& counters);

}  // namespace eyrie::cli
