// Shared by the commands that write a Hugging Face directory: flags, and the last line of output.
#pragma once

#include <cstdint>
#include <string>

#include "model/weights/hugging_face_writer.h"

namespace CLI {
class App;
}

namespace eyrie::cli {

struct WritingFlags {
  std::string type;
  std::int64_t shard_bytes = 5'000'000'000;
  std::int64_t threads = 0;
  model::HuggingFaceOptions options() const;
};

void add_writing_flags(CLI::App& app, WritingFlags& flags, const std::string& type_help);
void print_written(const model::HuggingFaceWritten& written, const std::string& directory);

}  // namespace eyrie::cli
