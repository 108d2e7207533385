// eyrie checkpoint verify RUN: checks every checksum of all checkpoints of a run, or of one.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <optional>

#include "base/error.h"
#include "base/output.h"
#include "checkpoint/list.h"
#include "checkpoint/status.h"
#include "cli/command.h"
#include "cli/flags.h"
#include "trainer/bytes.h"

namespace eyrie::cli {
namespace {

std::vector<checkpoint::CheckpointInfo> chosen(const std::string& place,
                                               std::optional<std::int64_t> step, bool newest) {
  std::vector<checkpoint::CheckpointInfo> all = checkpoint::checkpoints_at(place);
  if (step) {
    std::vector<std::int64_t> there;
    for (const auto& info : all) there.push_back(info.step);
    std::erase_if(all, [&](const auto& info) { return info.step != *step; });
    if (all.empty()) {
      throw base::InputError(fmt::format("{}: there is no checkpoint of step {}; there are: {}",
                                         place, *step, fmt::join(there, ", ")));
    }
  }
  if (newest) {
    std::erase_if(all, [](const auto& info) { return !info.complete; });
    if (all.empty()) throw base::InputError(place + ": the run has no finished checkpoint yet");
    all.erase(all.begin(), all.end() - 1);
  }
  return all;
}

}  // namespace

int run_checkpoint_verify(int argc, char** argv) {
  std::string place;
  std::optional<std::int64_t> step;
  bool newest = false;
  CLI::App app(
      "Compares every checksum of the checkpoints of a run, or of one checkpoint. Exit status 1 "
      "when any is damaged.",
      argv[0]);
  app.add_option("RUN", place, "the run's folder, or a checkpoint's")->required();
  auto* by_step = add_whole(app, "--step", step, "only the checkpoint of this step", 0);
  app.add_flag("--newest", newest, "only the newest one")->excludes(by_step);
  if (const auto end = parse(app, argc, argv)) return *end;
  int damaged = 0, sound = 0;
  for (const auto& info : chosen(place, step, newest)) {
    const std::string name = info.path.filename().string();
    if (!info.complete) {
      base::print("{}: unfinished, not a checkpoint\n", name);
      continue;
    }
    const std::vector<std::string> faults = checkpoint::faults_of(info.path);
    if (faults.empty()) {
      base::print("{}: sound, {}\n", name, trainer::bytes_text(checkpoint::bytes_below(info.path)));
    } else {
      base::print("{}: damaged\n  {}\n", name, fmt::join(faults, "\n  "));
    }
    ++(faults.empty() ? sound : damaged);
  }
  if (damaged == 0) return base::kExitDone;
  throw base::Error(fmt::format("{}: {} of {} damaged", place, damaged,
                                base::counted(damaged + sound, "checkpoint")));
}

}  // namespace eyrie::cli
