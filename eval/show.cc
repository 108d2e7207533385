// Lists tasks, and shows documents with their shots.
#include "eval/show.h"

#include <fmt/format.h>

#include <set>

#include "base/error.h"
#include "eval/prompt.h"
#include "eval/shots.h"

namespace eyrie::eval {
namespace {

std::string describe(const text::TaskDefinition& task, const base::Path& data) {
  std::string text = fmt::format("  evaluates {}, {} shots from {}, {}\n", task.evaluated_split(),
                                 task.shots, task.shot_split(), fmt::join(task.metrics, ", "));
  for (const auto& split : task.data) {
    for (const std::string& file : {split.file, split.labels}) {
      if (file.empty()) continue;
      const base::Path found = text::find_data(data, file);
      text += fmt::format("    {:12} {}{}\n", split.name,
                          (found.empty() ? data / file : found).string(),
                          found.empty() ? "   NOT THERE" : "");
    }
  }
  return text;
}

}  // namespace

std::string list_tasks(const text::TaskPlaces& places) {
  const text::TaskCatalog catalog = text::read_tasks(places.task_directories);
  std::string text;
  // Tasks that were listed under a group; groups that are members of another group.
  std::set<std::string> shown, inner;
  for (const auto& [name, group] : catalog.groups) {
    inner.insert(group.members.begin(), group.members.end());
  }
  for (const auto& [name, group] : catalog.groups) {
    const auto leaves = catalog.leaves(name);
    text += fmt::format("{}: {} tasks: {}\n", name, leaves.size(), fmt::join(group.members, ", "));
    for (const std::string& leaf : leaves) shown.insert(leaf);
    if (inner.contains(name)) continue;
    std::size_t missing = 0, files = 0;
    for (const std::string& leaf : leaves) {
      for (const auto& split : catalog.tasks.at(leaf).data) {
        ++files;
        missing += text::find_data(places.data, split.file).empty();
      }
    }
    text += fmt::format("    {} data files, {}\n", files,
                        missing == 0 ? "all there" : fmt::format("{} of them NOT THERE", missing));
    text +=
        fmt::format("    as {}:\n", leaves[0]) + describe(catalog.tasks.at(leaves[0]), places.data);
  }
  for (const auto& [name, task] : catalog.tasks) {
    if (!shown.contains(name)) text += fmt::format("{}\n", name) + describe(task, places.data);
  }
  return text;
}

std::string show_document(const std::string& name, std::int64_t document, std::optional<int> shots,
                          const text::TaskPlaces& places) {
  const text::TaskCatalog catalog = text::read_tasks(places.task_directories);
  const auto leaves = catalog.leaves(name);
  if (!catalog.tasks.contains(name)) {
    throw base::InputError(
        fmt::format("{} is a group; name one of its tasks: {}", name, fmt::join(leaves, ", ")));
  }
  const auto task = text::open_tasks(name, catalog, places)[0];
  const text::TaskDefinition& definition = task->definition();
  const auto& items = task->items(definition.evaluated_split());
  if (document < 0 || document >= static_cast<std::int64_t>(items.size())) {
    throw base::InputError(
        fmt::format("task {}: no document {}; the split {} has {}, counted from 0", name, document,
                    definition.evaluated_split(), items.size()));
  }
  const int count = shots.value_or(definition.shots);
  if (count < 0) throw base::InputError(fmt::format("{} shots: not negative", count));
  const auto chosen = choose_shots(*task, count, document + 1).back();
  const text::TaskItem& item = items[static_cast<std::size_t>(document)];
  const std::string head = prompt_head(
      definition, chosen.empty() ? items : task->items(definition.shot_split()), chosen);
  std::string text = head + item.prompt + "\n";
  text += fmt::format("\n--- {}, document {} of {}, {} shots from {}", name, document,
                      definition.evaluated_split(), count, definition.shot_split());
  if (count > 0) text += fmt::format(" (documents {})", fmt::join(chosen, ", "));
  text += "\n";
  for (std::size_t choice = 0; choice < item.targets.size(); ++choice) {
    text += static_cast<int>(choice) == item.gold ? "* " : "  ";
    if (!item.prompts.empty()) text += fmt::format("\"{}\" and ", item.prompts[choice]);
    text += fmt::format("\"{}\"\n", continuation(definition, item, choice));
  }
  return text;
}

}  // namespace eyrie::eval
