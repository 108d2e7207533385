// Flags and last line of output of model init, import and export.
#include "cli/model_files.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "base/output.h"
#include "cli/flags.h"

namespace eyrie::cli {

model::HuggingFaceOptions WritingFlags::options() const {
  model::HuggingFaceOptions options;
  if (!type.empty()) options.type = model::stored_type(type);
  options.shard_bytes = shard_bytes;
  return options;
}

void add_writing_flags(CLI::App& app, WritingFlags& flags, const std::string& type_help) {
  app.add_option("--dtype", flags.type, type_help);
  add_bytes(app, "--shard-size", flags.shard_bytes,
            "weights are split into files of at most so many bytes (500MB, 2GiB)", 10'000);
  add_whole(app, "--threads", flags.threads, "0: all cores", 0, base::most_threads());
}

void print_written(const model::HuggingFaceWritten& written, const std::string& directory) {
  base::print("{}: {} parameters, {}, {:.2f} GB in {} {}\n", directory, written.parameters,
              name_of(written.type), static_cast<double>(written.bytes) / 1e9, written.weight_files,
              written.weight_files == 1 ? "file" : "files");
}

}  // namespace eyrie::cli
