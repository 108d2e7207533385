// The rules of retention.
#include "checkpoint/retention.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/listing.h"
#include "checkpoint/format.h"

namespace eyrie::checkpoint {
namespace {

// Whether a checkpoint is valid; each is checked only once.
class Soundness {
 public:
  explicit Soundness(bool thorough) : thorough_(thorough) {}

  bool operator()(const base::Path& path) {
    const auto [found, added] = known_.emplace(path, false);
    if (!added) return found->second;
    return found->second = fault_of(path, thorough_).empty();
  }

 private:
  bool thorough_;
  std::map<base::Path, bool> known_;
};

// Returns indices by loss, lowest first; among equal losses the newer first.
std::vector<std::size_t> by_loss(const std::vector<RetentionDecision>& rows, const InUse& in_use) {
  std::vector<std::pair<double, std::size_t>> losses;
  for (std::size_t i = rows.size(); i-- > 0;) {
    if (!rows[i].info.complete || in_use.passed_over.contains(rows[i].info.step)) continue;
    try {
      const auto loss = validation_loss_of(read_state(rows[i].info.path));
      if (loss) losses.emplace_back(*loss, i);
    } catch (const base::InputError&) {  // damaged: none of the best
    }
  }
  std::stable_sort(losses.begin(), losses.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<std::size_t> order;
  for (const auto& [loss, i] : losses) order.push_back(i);
  return order;
}

}  // namespace

std::optional<double> validation_loss_of(const std::string& state) {
  const auto json = nlohmann::json::parse(state, nullptr, false);
  if (!json.is_object()) return std::nullopt;
  const auto found = json.find("validation_loss");
  if (found == json.end() || !found->is_number()) return std::nullopt;
  const double loss = found->get<double>();
  return std::isfinite(loss) ? std::optional(loss) : std::nullopt;
}

std::int64_t roll_back_target_of(const std::string& state) {
  const auto json = nlohmann::json::parse(state, nullptr, false);
  if (!json.is_object()) return 0;
  const auto found = json.find("roll_back_to");
  return found != json.end() && found->is_number_integer() ? found->get<std::int64_t>() : 0;
}

std::vector<RetentionDecision> apply_retention(const base::Path& run_directory,
                                               const Retention& retention, bool thorough,
                                               const InUse& in_use) {
  std::vector<RetentionDecision> rows;
  for (const CheckpointInfo& info : list_checkpoints(run_directory / "checkpoints"))
    rows.push_back({info, ""});
  Soundness sound(thorough);
  const std::int64_t keep = std::max<std::int64_t>(retention.keep, 1);
  std::int64_t newest = 0;
  for (auto row = rows.rbegin(); row != rows.rend(); ++row) {
    if (!row->info.complete) {
      if (newest == 0) row->kept_for = "unfinished, may be under way";
    } else if (newest < keep) {
      const bool counts = !in_use.passed_over.contains(row->info.step) && sound(row->info.path);
      row->kept_for = counts ? "newest" : "damaged, too few others are sound";
      newest += counts ? 1 : 0;
    } else if (retention.keep_every > 0 && row->info.step % retention.keep_every == 0) {
      row->kept_for = fmt::format("multiple of {}", retention.keep_every);
    } else if (std::find(retention.stage_ends.begin(), retention.stage_ends.end(),
                         row->info.step) != retention.stage_ends.end()) {
      row->kept_for = "end of a stage";
    }
  }
  std::int64_t best = 0;
  if (retention.best > 0) {
    for (const std::size_t i : by_loss(rows, in_use)) {
      if (best == retention.best) break;
      if (!sound(rows[i].info.path)) continue;
      if (rows[i].kept_for.empty()) rows[i].kept_for = "best";
      ++best;
    }
  }
  std::set<std::int64_t> targets;
  for (const RetentionDecision& row : rows) {
    if (row.kept_for != "newest") continue;
    const std::int64_t target = roll_back_target_of(read_state(row.info.path));
    if (target != 0) targets.insert(target);
  }
  for (RetentionDecision& row : rows) {
    if (!row.kept_for.empty() || !row.info.complete) continue;
    if (targets.contains(row.info.step)) row.kept_for = "where a roll-back goes to";
    if (in_use.kept.contains(row.info.step)) row.kept_for = "in use";
  }
  return rows;
}

void remove_checkpoint(const base::Path& path) {
  base::Path aside = path;
  aside += kReplacedSuffix;
  base::remove_tree(aside / kManifestName);  // first, so that no partial checkpoint looks complete
  base::remove_tree(aside);
  base::remove_tree(path / kManifestName);
  base::remove_tree(path);
}

std::vector<base::Path> prune_checkpoints(const base::Path& run_directory,
                                          const Retention& retention, bool thorough,
                                          const InUse& in_use) {
  std::vector<base::Path> removed;
  for (const RetentionDecision& row : apply_retention(run_directory, retention, thorough, in_use)) {
    if (row.kept_for.empty()) {
      remove_checkpoint(row.info.path);
      removed.push_back(row.info.path);
      continue;
    }
    base::Path aside = row.info.path;
    aside += kReplacedSuffix;
    if (row.info.complete && base::is_there(aside)) base::remove_tree(aside);
  }
  return removed;
}

}  // namespace eyrie::checkpoint
