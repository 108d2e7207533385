// eyrie checkpoint prune RUN: removes the checkpoints that the retention rules do not keep.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <optional>
#include <set>

#include "base/error.h"
#include "base/listing.h"
#include "base/output.h"
#include "base/owner.h"
#include "checkpoint/retention.h"
#include "checkpoint/status.h"
#include "cli/command.h"
#include "cli/flags.h"
#include "trainer/bytes.h"
#include "trainer/run_config.h"

namespace eyrie::cli {

int run_checkpoint_prune(int argc, char** argv) {
  std::string run;
  std::optional<std::int64_t> keep, keep_every, best;
  bool dry_run = false, no_stage_ends = false;
  CLI::App app(
      "Removes the checkpoints of a run that its retention does not keep. Every checksum of those "
      "that stay as newest or best is compared first: the only sound one is never removed.",
      argv[0]);
  app.add_option("RUN", run, "the run's folder")->required();
  add_whole(app, "--keep", keep, "keep the N newest (default: the run's checkpoint.keep)", 1);
  add_whole(app, "--keep-every", keep_every,
            "keep those whose step is a multiple of N; 0: none for that (default: the run's)", 0);
  add_whole(app, "--best", best, "keep the N with the lowest validation loss (default: the run's)",
            0);
  app.add_flag("--no-stage-ends", no_stage_ends,
               "keep no checkpoint because a stage ends there (default: the run's)");
  app.add_flag("--dry-run", dry_run, "say what would go, remove nothing");
  if (const auto end = parse(app, argc, argv)) return *end;
  if (base::is_there(base::Path(run) / "manifest.json")) {
    throw base::InputError(run + ": this is one checkpoint; name the run's folder");
  }
  checkpoint::checkpoints_at(run);  // throws if this is not a run
  checkpoint::Retention retention{3, 0, 1};
  const base::Path configuration = base::Path(run) / "run.yaml";
  if (base::is_there(configuration)) retention = trainer::read_retention(configuration);
  retention.keep = keep.value_or(retention.keep);
  retention.keep_every = keep_every.value_or(retention.keep_every);
  retention.best = best.value_or(retention.best);
  if (no_stage_ends) retention.stage_ends.clear();
  // A run in progress removes checkpoints itself, and only it knows which ones it needs.
  std::optional<base::FolderOwner> owner;
  if (!dry_run)
    owner.emplace(run, base::OwnerOptions{.what = "this run", .instead = "see with --dry-run"});
  const auto rows = checkpoint::apply_retention(run, retention, true);
  if (std::none_of(rows.begin(), rows.end(),
                   [](const auto& row) { return row.kept_for == "newest"; })) {
    throw base::Error(
        fmt::format("{}: no checkpoint there is sound; nothing was removed (`eyrie checkpoint "
                    "verify` says why)",
                    run));
  }
  std::set<base::Path> damaged;
  for (const auto& status : checkpoint::describe_checkpoints(run))
    if (!status.fault.empty()) damaged.insert(status.info.path);
  std::int64_t gone = 0;
  std::uint64_t bytes = 0;
  for (const auto& row : rows) {
    const std::string name = row.info.path.filename().string();
    if (!row.kept_for.empty()) {
      base::print("{}: stays ({})\n", name, row.kept_for);
      continue;
    }
    const std::uint64_t size = checkpoint::bytes_below(row.info.path);
    if (owner) {
      owner->check();
      checkpoint::remove_checkpoint(row.info.path);
    }
    base::print("{}: {} ({}{})\n", name, dry_run ? "would go" : "removed",
                trainer::bytes_text(size),
                !row.info.complete                ? ", unfinished"
                : damaged.contains(row.info.path) ? ", damaged"
                                                  : "");
    ++gone;
    bytes += size;
  }
  base::print("{} {}, {}\n", dry_run ? "would remove" : "removed",
              base::counted(gone, "checkpoint"), trainer::bytes_text(bytes));
  return base::kExitDone;
}

}  // namespace eyrie::cli
