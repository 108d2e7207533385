// Flags and last line of model init, import and export.
#include "cli/model_files.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <limits>

namespace eyrie::cli {

model::HuggingFaceOptions WritingFlags::options() const {
  model::HuggingFaceOptions options;
  if (!type.empty()) options.type = model::stored_type(type);
  options.shard_bytes = static_cast<std::int64_t>(
      std::min<std::uint64_t>(shard_bytes, std::numeric_limits<std::int64_t>::max()));
  return options;
}

void add_writing_flags(CLI::App& app, WritingFlags& flags, const std::string& type_help) {
  app.add_option("--dtype", flags.type, type_help);
  app.add_option("--shard-size", flags.shard_bytes,
                 "weights are split into files of at most so many bytes (500MB, 2GiB)")
      ->transform(CLI::AsSizeValue(true))
      ->default_str("5GB");
  app.add_option("--threads", flags.threads, "0: all cores")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
}

void print_written(const model::HuggingFaceWritten& written, const std::string& directory) {
  fmt::print("{}: {} parameters, {}, {:.2f} GB in {} {}\n", directory, written.parameters,
             name_of(written.type), static_cast<double>(written.bytes) / 1e9, written.weight_files,
             written.weight_files == 1 ? "file" : "files");
}

}  // namespace eyrie::cli
