// Limits, shots and costs of tasks.
#include "eval/task_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <span>

#include "base/error.h"
#include "eval/prompt.h"
#include "eval/shots.h"

namespace eyrie::eval {
namespace {

// Returns the limit of a leaf task: its own, else that of the nearest group that contains it, else
// that for all other tasks; -1 if there is none.
std::int64_t limit_of(const std::string& leaf, const text::TaskCatalog& catalog,
                      const std::map<std::string, std::int64_t>& limits) {
  std::set<std::string> reached = {leaf};
  for (std::vector<std::string> level = {leaf}; !level.empty();) {
    for (const std::string& name : level) {
      const auto found = limits.find(name);
      if (found != limits.end()) return found->second;
    }
    std::vector<std::string> above;
    for (const auto& [name, group] : catalog.groups) {
      const bool holds =
          std::any_of(group.members.begin(), group.members.end(), [&](const std::string& member) {
            return std::find(level.begin(), level.end(), member) != level.end();
          });
      if (holds && reached.insert(name).second) above.push_back(name);
    }
    level = above;
  }
  const auto others = limits.find("");
  return others == limits.end() ? -1 : others->second;
}

}  // namespace

void check_options(const EvaluateOptions& options, const text::TaskCatalog& catalog) {
  for (const auto& [name, limit] : options.limits) {
    if (!name.empty()) catalog.leaves(name);
    if (limit < 1) {
      throw base::InputError(fmt::format("limit {}{}: at least one document a task is evaluated",
                                         limit, name.empty() ? "" : " of " + name));
    }
  }
  if (options.shots && *options.shots < 0)
    throw base::InputError(fmt::format("{} shots: not negative", *options.shots));
  if (options.max_length < 0) {
    throw base::InputError(
        fmt::format("max length {}: at least 1, or 0 for no limit", options.max_length));
  }
}

TaskPlan make_task_plan(std::shared_ptr<const text::Task> task, const text::TaskCatalog& catalog,
                        const EvaluateOptions& options) {
  TaskPlan plan;
  plan.task = std::move(task);
  plan.shots = options.shots.value_or(plan.task->definition().shots);
  plan.documents = static_cast<std::int64_t>(plan.items().size());
  const std::int64_t limit = limit_of(plan.task->name(), catalog, options.limits);
  if (limit >= 0) plan.documents = std::min(plan.documents, limit);
  plan.chosen = choose_shots(*plan.task, plan.shots, plan.documents);
  plan.same_shots = std::all_of(plan.chosen.begin(), plan.chosen.end(),
                                [&](const auto& one) { return one == plan.chosen.front(); });
  if (plan.shares_head()) {
    const std::span<const std::int64_t> first = plan.chosen[0];
    plan.shared_head =
        prompt_head(plan.task->definition(), first.empty() ? plan.items() : plan.pool(), first);
  }
  return plan;
}

double cost_of(const WorkItem& work) {
  constexpr double kRequest = 8;  // fixed cost per request, whatever its length
  const text::TaskItem& item = work.plan->items()[work.document];
  double bytes = static_cast<double>(item.prompt.size());
  for (std::size_t choice = 0; choice < item.targets.size(); ++choice) {
    bytes += kRequest + static_cast<double>(item.targets[choice].size());
    if (!item.prompts.empty()) bytes += static_cast<double>(item.prompts[choice].size());
  }
  if (work.plan->shares_head()) {
    if (work.document == 0) bytes += static_cast<double>(work.plan->shared_head.size());
  } else {
    for (const std::int64_t at : work.plan->chosen[work.document]) {
      const text::TaskItem& shot = work.plan->pool()[at];
      bytes +=
          static_cast<double>(shot.prompt.size() + shot.targets[std::max(0, shot.gold)].size());
    }
  }
  return bytes;
}

}  // namespace eyrie::eval
