// Finds and reads task files.
#include "text/task_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <functional>

#include "base/config_range.h"
#include "base/error.h"
#include "base/listing.h"
#include "base/resource.h"

namespace eyrie::text {
namespace {

const std::vector<std::string> kMetrics = {"acc", "acc_norm", "perplexity"};

std::vector<std::string> read_metrics(base::Config& config, TaskType type) {
  const auto metrics = config.get<std::vector<std::string>>("metrics");
  for (const std::string& metric : metrics) {
    const bool known = std::find(kMetrics.begin(), kMetrics.end(), metric) != kMetrics.end();
    if (!known) {
      throw config.error("metrics", fmt::format("unknown metric \"{}\"; known are {}", metric,
                                                fmt::join(kMetrics, ", ")));
    }
    if ((type == TaskType::kMultipleChoice && metric == "perplexity") ||
        (type == TaskType::kLogLikelihood && metric == "acc_norm")) {
      throw config.error("metrics",
                         fmt::format("\"{}\" has no meaning for a task of this type", metric));
    }
  }
  return metrics;
}

// Reads `key`, whose value must be one of `known`.
template <class T>
T read_choice(base::Config& config, const std::string& key,
              const std::vector<std::pair<std::string, T>>& known) {
  const std::string value = config.get<std::string>(key, known[0].first);
  std::vector<std::string> names;
  for (const auto& [name, meaning] : known) {
    if (name == value) return meaning;
    names.push_back(name);
  }
  throw config.error(key, fmt::format("\"{}\" is not one of {}", value, fmt::join(names, ", ")));
}

// Reads a leaf task. Its names, files and description may refer to `variables` (MMLU's subject).
TaskDefinition read_leaf(base::Config& config, const Value& variables) {
  const auto place = [&](const std::string& key) {
    return fmt::format("{}: {}", config.name(), key);
  };
  const auto text = [&](base::Config& from, const std::string& key, const std::string& fallback) {
    return Template(from.get<std::string>(key, fallback), place(key)).render(variables);
  };
  const auto templates = [&](const std::string& key) {
    std::vector<Template> all;
    if (!config.has(key)) return all;
    for (const std::string& one : config.get<std::vector<std::string>>(key))
      all.emplace_back(one, place(key));
    return all;
  };

  TaskDefinition task;
  task.name = Template(config.get<std::string>("task"), place("task")).render(variables);
  task.alias = text(config, "alias", task.name);
  task.version = config.get<double>("version");
  task.type = read_choice<TaskType>(config, "type",
                                    {{"multiple_choice", TaskType::kMultipleChoice},
                                     {"loglikelihood", TaskType::kLogLikelihood}});
  base::Config data = config.map("data");
  for (const std::string& name : data.keys()) {
    base::Config split = data.map(name);
    task.data.push_back({name,
                         Template(split.get<std::string>("file"), place("data")).render(variables),
                         text(split, "labels", ""), split.get<bool>("labelled", true)});
  }
  if (config.has("columns")) task.columns = config.get<std::vector<std::string>>("columns");

  const auto role = [&](const std::string& key) {
    const std::string name = config.has(key) ? config.get<std::string>(key) : std::string();
    const bool there =
        name.empty() || std::any_of(task.data.begin(), task.data.end(),
                                    [&](const auto& split) { return split.name == name; });
    if (!there)
      throw config.error(key, fmt::format("\"{}\" is not one of the splits under data", name));
    return name;
  };
  task.training_split = role("training_split");
  task.validation_split = role("validation_split");
  task.test_split = role("test_split");
  task.fewshot_split = role("fewshot_split");
  if (task.evaluated_split().empty()) {
    throw config.error("test_split",
                       "neither test_split nor validation_split says what to evaluate");
  }
  if (!task.split(task.evaluated_split()).labelled) {
    throw config.error("data", fmt::format("the split {} is to be evaluated but has no labels",
                                           task.evaluated_split()));
  }

  task.shots = static_cast<int>(base::get_whole(config, "shots", 0, 0, 1 << 20));
  task.sampler = read_choice<ShotSampler>(
      config, "sampler", {{"default", ShotSampler::kRandom}, {"first_n", ShotSampler::kFirst}});
  task.description = text(config, "description", "");
  task.target_delimiter = config.get<std::string>("target_delimiter", " ");
  task.fewshot_delimiter = config.get<std::string>("fewshot_delimiter", "\n\n");
  task.metrics = read_metrics(config, task.type);

  if (config.has("derive")) {
    for (const auto& [name, source] : config.map("derive").entries<std::string>()) {
      task.derive.emplace_back(name, Template(source, place("derive." + name)));
    }
  }
  task.question = Template(config.get<std::string>("question"), place("question"));
  task.prompts = templates("prompt");
  task.choices = templates("choices");
  task.targets = templates("targets");
  if (task.prompts.empty()) throw config.error("prompt", "missing; it has no default");
  if (task.choices.empty()) throw config.error("choices", "missing; it has no default");
  task.gold = Template(
      config.get<std::string>("gold", task.type == TaskType::kLogLikelihood ? "0" : "{label}"),
      place("gold"));
  task.gold_labels = templates("gold_labels");
  return task;
}

std::string leaf_name(base::Config& each, const Value& variables) {
  return Template(each.get<std::string>("task"), each.name()).render(variables);
}

// Reads a group and the tasks and groups that its file defines.
void read_group(base::Config& config, TaskCatalog& found) {
  TaskGroup group;
  group.name = config.get<std::string>("group");
  group.alias = config.get<std::string>("alias", group.name);
  group.version = config.get<double>("version");
  group.metrics = read_metrics(config, TaskType::kMultipleChoice);
  if (config.has("tasks")) group.members = config.get<std::vector<std::string>>("tasks");
  if (config.has("each")) {
    base::Config each = config.map("each");
    const std::string variable = each.get<std::string>("variable");
    const auto leaves_of = [&](base::Config& from) {
      std::vector<std::string> names;
      for (const std::string& word : from.get<std::vector<std::string>>(variable)) {
        const Value variables{Value::Map{{variable, {word}}}};
        names.push_back(leaf_name(each, variables));
        found.tasks.emplace(names.back(), read_leaf(each, variables));
      }
      return names;
    };
    for (base::Config& below : config.list("groups")) {
      TaskGroup part{below.get<std::string>("group"), "", group.version, {}, group.metrics};
      part.alias = below.get<std::string>("alias", part.name);
      part.members = leaves_of(below);
      group.members.push_back(part.name);
      found.groups.emplace(part.name, part);
    }
    if (config.has(variable)) {
      const auto names = leaves_of(config);
      group.members.insert(group.members.end(), names.begin(), names.end());
    }
  }
  if (group.members.empty()) throw config.error("tasks", "the group has no tasks");
  found.groups.emplace(group.name, group);
}

// `owners`: by name, the file of this folder that defines it.
void read_file(const base::Path& path, TaskCatalog& catalog,
               std::map<std::string, base::Path>& owners) {
  base::Config config = base::Config::read(path);
  TaskCatalog found;
  if (config.has("group")) {
    read_group(config, found);
  } else {
    TaskDefinition task = read_leaf(config, Value{Value::Map{}});
    const std::string name = task.name;
    found.tasks.emplace(name, std::move(task));
  }
  config.finish();
  for (const std::string& name : found.names()) {
    const auto [owner, is_first] = owners.emplace(name, path);
    if (is_first) continue;
    throw base::InputError(fmt::format("{}: the name {} is already that of a task or group in {}",
                                       path.string(), name, owner->second.string()));
  }
  // Names that exist already are kept: the user's folders come before Eyrie's own.
  catalog.tasks.merge(found.tasks);
  catalog.groups.merge(found.groups);
}

}  // namespace

const std::string& TaskDefinition::shot_split() const {
  if (!fewshot_split.empty()) return fewshot_split;
  if (!training_split.empty()) return training_split;
  return validation_split.empty() ? test_split : validation_split;
}

const TaskDefinition::Split& TaskDefinition::split(const std::string& wanted) const {
  std::vector<std::string> names;
  for (const Split& one : data) {
    if (one.name == wanted) return one;
    names.push_back(one.name);
  }
  throw base::InputError(fmt::format("the task {} has no split \"{}\"; it has {}", name, wanted,
                                     fmt::join(names, ", ")));
}

std::vector<std::string> TaskCatalog::names() const {
  std::vector<std::string> all;
  for (const auto& [name, group] : groups) all.push_back(name);
  for (const auto& [name, task] : tasks) all.push_back(name);
  return all;
}

std::vector<std::string> TaskCatalog::leaves(const std::string& name) const {
  std::vector<std::string> result;
  std::vector<std::string> above;
  const std::function<void(const std::string&)> descend = [&](const std::string& one) {
    if (tasks.contains(one)) {
      if (std::find(result.begin(), result.end(), one) == result.end()) result.push_back(one);
      return;
    }
    const auto group = groups.find(one);
    if (group == groups.end()) {
      const std::string near = base::nearest(one, names());
      throw base::InputError(
          fmt::format("unknown task \"{}\"{} (`eyrie eval list` lists all)", one,
                      near.empty() ? "" : fmt::format("; did you mean \"{}\"?", near)));
    }
    if (std::find(above.begin(), above.end(), one) != above.end()) {
      throw base::InputError(
          fmt::format("the group {} contains itself: {}", one, fmt::join(above, " > ")));
    }
    above.push_back(one);
    for (const std::string& member : group->second.members) descend(member);
    above.pop_back();
  };
  descend(name);
  return result;
}

base::Path own_task_directory() {
  if (const char* chosen = std::getenv("EYRIE_TASKS"); chosen != nullptr && *chosen != '\0') {
    if (!base::is_folder(chosen)) {
      throw base::InputError(fmt::format(
          "EYRIE_TASKS: {} is not a folder; name the folder with the task files (*.yaml)", chosen));
    }
    return chosen;
  }
  const base::Path found = base::find_resource("eval/tasks", "tasks");
  if (!found.empty()) return found;
  throw base::InputError(
      "no folder eval/tasks in the working directory or above the executable; set EYRIE_TASKS to "
      "the folder with the task "
      "files (*.yaml)");
}

TaskCatalog read_tasks(const std::vector<base::Path>& directories) {
  TaskCatalog catalog;
  std::vector<base::Path> all = directories;
  all.push_back(own_task_directory());
  for (const base::Path& directory : all) {
    if (!base::is_folder(directory)) {
      throw base::InputError(fmt::format(
          "{}: not a folder; task files (*.yaml) were looked for there", directory.string()));
    }
    std::vector<base::Path> files;
    for (const base::Path& entry : base::list_folder(directory)) {
      if (entry.extension() == ".yaml") files.push_back(entry);
    }
    std::map<std::string, base::Path> owners;
    for (const base::Path& file : files) read_file(file, catalog, owners);
  }
  return catalog;
}

}  // namespace eyrie::text
