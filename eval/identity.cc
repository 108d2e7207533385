// Identities as JSON, and their comparison with what is in a folder.
#include "eval/identity.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/hash.h"
#include "base/listing.h"
#include "eval/answer_cache.h"
#include "text/task_content.h"

namespace eyrie::eval {
namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

const std::string kSamples = "samples_", kSamplesEnd = ".jsonl";

// Hashes everything in a leaf task that affects a prompt, an answer or a metric; the documents in
// their order.
std::string content_of(const TaskPlan& plan) {
  const text::TaskDefinition& task = plan.task->definition();
  base::Hasher hasher;
  const auto add = [&](std::string_view text) {
    hasher.add(fmt::format("{} {}\n", text.size(), text));
  };
  const auto add_items = [&](const std::vector<text::TaskItem>& items) {
    for (const text::TaskItem& item : items) {
      const std::uint64_t hashes[] = {text::content_of(item), item.document_hash};
      hasher.add(std::as_bytes(std::span(hashes)));
    }
  };
  add(task.type == text::TaskType::kMultipleChoice ? "multiple_choice" : "loglikelihood");
  add(fmt::format("{}", fmt::join(task.metrics, " ")));
  add(task.alias);
  add(task.description);
  add(task.target_delimiter);
  add(task.fewshot_delimiter);
  add(task.evaluated_split());
  add_items(plan.items());
  if (plan.shots > 0) {
    add(task.shot_split());
    add(task.sampler == text::ShotSampler::kFirst ? "first_n" : "default");
    add_items(plan.pool());
  }
  return base::hex(hasher.value());
}

// Flattens nested objects: "tasks.piqa.documents" → 20.
void flatten(const Json& json, const std::string& path, std::map<std::string, std::string>& flat) {
  if (!json.is_object()) {
    flat[path] = json.is_string() ? json.get<std::string>() : json.dump();
    return;
  }
  for (const auto& [key, value] : json.items())
    flatten(value, path.empty() ? key : path + "." + key, flat);
}

// Returns "of runs/a/checkpoints/step-00000200 (griffin-10m, bf16)", if the results contain a
// description.
std::string description_in(const Json& results) {
  const auto config = results.find("config");
  if (config == results.end() || !config->is_object()) return "";
  return config->value("model_args", "");
}

}  // namespace

std::string limits_json(const std::map<std::string, std::int64_t>& limits) {
  if (limits.empty()) return "null";
  if (limits.size() == 1 && limits.contains("")) return Json(limits.at("")).dump();
  return Json(limits).dump();
}

std::string identity_json(const EvaluateOptions& options, const text::Tokenizer& tokenizer,
                          const text::TaskCatalog& catalog,
                          const std::map<std::string, TaskPlan>& plans) {
  Json json;
  json["weights"] = options.subject.weights;
  json["step"] = nullptr;
  if (options.subject.step) json["step"] = *options.subject.step;
  json["precision"] = options.subject.precision;
  json["tokenizer"] = tokenizer.hash();
  json["max_length"] = nullptr;
  if (options.max_length > 0) json["max_length"] = options.max_length;
  json["num_fewshot"] = nullptr;
  if (options.shots) json["num_fewshot"] = *options.shots;
  json["limit"] = Json::parse(limits_json(options.limits));
  const std::set<std::string> named(options.tasks.begin(), options.tasks.end());
  json["named"] = named;
  json["tasks"] = Json::object();
  for (const auto& [name, plan] : plans) {
    json["tasks"][name] = {{"version", plan.task->definition().version},
                           {"shots", plan.shots},
                           {"documents", plan.documents},
                           {"content", content_of(plan)}};
  }
  json["groups"] = Json::object();
  std::set<std::string> seen;
  const auto add_group = [&](const auto& self, const std::string& name) -> void {
    const auto found = catalog.groups.find(name);
    if (catalog.tasks.contains(name) || found == catalog.groups.end() || !seen.insert(name).second)
      return;
    const text::TaskGroup& group = found->second;
    json["groups"][name] = base::hex(base::hash_text(
        fmt::format("{} {} {} {}", group.alias, group.version, group.metrics, group.members)));
    for (const std::string& member : group.members) self(self, member);
  };
  for (const std::string& name : named) add_group(add_group, name);
  return json.dump();
}

std::string difference(const std::string& there, const std::string& now, bool without_weights) {
  constexpr std::size_t kMost = 4;
  std::map<std::string, std::string> before, after;
  flatten(Json::parse(there, nullptr, false), "", before);
  flatten(Json::parse(now, nullptr, false), "", after);
  if (without_weights) {
    for (const char* key : {"weights", "step", "precision"}) {
      before.erase(key);
      after.erase(key);
    }
  }
  std::vector<std::string> changes;
  // The step comes first, since it is the most informative.
  std::set<std::string> keys;
  for (const auto* flat : {&before, &after})
    for (const auto& [key, value] : *flat) keys.insert(key);
  std::vector<std::string> order(keys.begin(), keys.end());
  std::stable_partition(order.begin(), order.end(), [](const auto& key) { return key == "step"; });
  for (const std::string& key : order) {
    const auto old_value = before.find(key), new_value = after.find(key);
    if (old_value == before.end()) {
      changes.push_back(fmt::format("without {}", key));
    } else if (new_value == after.end()) {
      changes.push_back(fmt::format("{} {}, which is gone now", key, old_value->second));
    } else if (old_value->second != new_value->second) {
      changes.push_back(fmt::format("{} {}, now {}", key, old_value->second, new_value->second));
    }
  }
  if (changes.size() > kMost) {
    const std::size_t more = changes.size() - kMost;
    changes.resize(kMost);
    changes.push_back(fmt::format("{} more", more));
  }
  return fmt::format("{}", fmt::join(changes, "; "));
}

std::vector<base::Path> samples_in(const base::Path& directory) {
  std::vector<base::Path> files;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(kSamples) && name.ends_with(kSamplesEnd)) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::string samples_name(const std::string& task) { return kSamples + task + kSamplesEnd; }

std::string task_of_samples(const base::Path& file) {
  const std::string name = file.filename().string();
  const std::size_t begin = kSamples.size();
  return name.substr(begin, name.size() - begin - kSamplesEnd.size());
}

ExistingOutput inspect_output(const base::Path& directory, const std::string& identity,
                              bool without_weights) {
  using Kind = ExistingOutput::Kind;
  if (!base::is_there(directory)) return {};
  const base::Path path = directory / "results.json";
  // A pipe or a device contains no earlier results.
  if (base::is_regular_file(path)) {
    const Json there = Json::parse(base::read_file(path), nullptr, false);
    if (!there.is_object())
      return {Kind::kOther, fmt::format("{} is damaged: no JSON object", path.string())};
    const std::string model = description_in(there);
    const std::string of = model.empty() ? "" : fmt::format(" of {}", model);
    if (!there.contains("evaluated") || !there["evaluated"].is_object()) {
      return {Kind::kOther,
              fmt::format("{} holds results{} that do not say which weights and tasks they are of "
                          "(no \"evaluated\")",
                          path.string(), of)};
    }
    const std::string differs = difference(there["evaluated"].dump(), identity, without_weights);
    if (!differs.empty())
      return {Kind::kOther, fmt::format("{} holds results{}: {}", path.string(), of, differs)};
    const std::vector<base::Path> samples = samples_in(directory);
    for (const base::Path& file : samples) {
      if (!there["evaluated"].value("tasks", Json::object()).contains(task_of_samples(file)))
        return {Kind::kOther,
                fmt::format("{} is of a task that results.json beside it does not have",
                            file.string())};
    }
    return {Kind::kSame, ""};
  }
  const std::string unfinished = AnswerCache::identity_in(directory);
  if (!unfinished.empty()) {
    const std::string differs = difference(unfinished, identity, without_weights);
    if (differs.empty()) return {Kind::kUnfinished, ""};
    return {Kind::kOther, fmt::format("{} holds the answers of an unfinished evaluation: {}",
                                      AnswerCache::folder(directory).string(), differs)};
  }
  const std::vector<base::Path> samples = samples_in(directory);
  if (samples.empty()) return {};
  return {Kind::kOther, fmt::format("{} is there without a results.json that says what it is of",
                                    samples.front().string())};
}

}  // namespace eyrie::eval
