// eyrie checkpoint list RUN: lists the checkpoints of a run.
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <CLI/CLI.hpp>

#include <algorithm>

#include "base/error.h"
#include "base/output.h"
#include "checkpoint/status.h"
#include "cli/command.h"
#include "cli/flags.h"
#include "trainer/bytes.h"

namespace eyrie::cli {
namespace {

std::string marks_of(const checkpoint::CheckpointStatus& status) {
  std::vector<std::string> marks;
  if (status.newest) marks.emplace_back("newest");
  if (status.best) marks.emplace_back("best");
  if (!status.info.complete) marks.emplace_back("unfinished");
  if (!status.fault.empty()) marks.emplace_back(status.readable ? "damaged" : "not readable");
  return fmt::format("{}", fmt::join(marks, ", "));
}

std::string or_dash(const std::string& text) { return text.empty() ? "-" : text; }

}  // namespace

int run_checkpoint_list(int argc, char** argv) {
  std::string run;
  CLI::App app(
      "Lists the checkpoints of a run. Opens each, which checks all but the data: `eyrie "
      "checkpoint "
      "verify` does that.",
      argv[0]);
  app.add_option("RUN", run, "the run's folder")->required();
  if (const auto end = parse(app, argc, argv)) return *end;
  checkpoint::checkpoints_at(run);  // refuses what is no run
  const auto all = checkpoint::describe_checkpoints(run);
  std::size_t stage = 5, ranks = 5;
  for (const auto& status : all) {
    stage = std::max(stage, status.stage.size());
    ranks = std::max(ranks, status.ranks.size());
  }
  base::print("{:>10}  {:{}}  {:19}  {:>9}  {:{}}  {:>15}\n", "step", "stage", stage, "written",
              "size", "ranks", ranks, "validation loss");
  for (const auto& status : all) {
    const std::string written =
        status.written ? fmt::format("{:%Y-%m-%d %H:%M:%S}", fmt::localtime(*status.written)) : "-";
    const std::string loss =
        status.validation_loss ? fmt::format("{:.4f}", *status.validation_loss) : "-";
    const std::string line =
        fmt::format("{:>10}  {:{}}  {:19}  {:>9}  {:{}}  {:>15}  {}", status.info.step,
                    or_dash(status.stage), stage, written, trainer::bytes_text(status.bytes),
                    or_dash(status.ranks), ranks, loss, marks_of(status));
    base::print("{}\n", line.substr(0, line.find_last_not_of(' ') + 1));
  }
  for (const auto& status : all) {
    if (!status.fault.empty())
      base::print("{}: {}\n", status.readable ? "damaged" : "not readable", status.fault);
  }
  return base::kExitDone;
}

}  // namespace eyrie::cli
