// The three ways of `eyrie generate`: one prompt, a file of prompts, a dialogue.
#pragma once

#include <string>

#include "model/text_generator.h"
#include "trainer/open_model.h"

namespace eyrie::cli {

// Ctrl-C ended it: 128 + SIGINT, as shells say it.
constexpr int kExitInterrupted = 130;

struct GenerateOptions {
  std::string place, prompt, prompts, output, state, save_state;
  bool chat = false;
  std::int64_t samples = 1;
  model::TextOptions text;
};

int generate_one(const GenerateOptions& options, const trainer::OpenedModel& opened,
                 model::Decoder& decoder);
int generate_from_file(const GenerateOptions& options, const trainer::OpenedModel& opened,
                       model::Decoder& decoder);
int chat(const GenerateOptions& options, const trainer::OpenedModel& opened,
         model::Decoder& decoder);

// One line on stderr: tokens read and made, and how fast.
void print_counters(const std::string& description, const model::GenerationCounters& counters);

}  // namespace eyrie::cli
