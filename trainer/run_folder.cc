// Checks each folder by creating a file in it.
#include "trainer/run_folder.h"

#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <system_error>

#include <fmt/format.h>

#include "base/error.h"
#include "base/output_place.h"

namespace eyrie::trainer {

void check_run_folder(const RunConfig& run) {
  const base::Path directory = run.directory;
  const std::string what = "the run's directory";
  base::check_output_folder(what, directory);
  for (const char* name : {"checkpoints", "log"}) base::check_output_folder(what, directory / name);
  for (const StageConfig& stage : run.stages)
    if (!stage.tasks.empty()) base::check_output_folder(what, directory / "eval" / stage.name);
  if (!std::filesystem::is_directory(directory)) return;  // it will be created
  base::check_output_file(what, directory / "run.yaml");
  base::check_output_file(what, directory / "metrics.jsonl", base::Order::kAny);
  const base::Path log = directory / "log" / "rank-0000.log";  // appended to
  if (::access(log.c_str(), W_OK) != 0 && errno != ENOENT && errno != ENOTDIR) {
    throw base::InputError(fmt::format("{}: {} cannot be written: {}", what, log.string(),
                                       std::generic_category().message(errno)));
  }
}

}  // namespace eyrie::trainer
