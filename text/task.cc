// Tasks over their data files: reads documents and renders them.
#include "text/task.h"

#include <fmt/format.h>

#include <charconv>
#include <cstdlib>
#include <map>
#include <mutex>

#include "base/error.h"
#include "base/file_input.h"
#include "base/file_kind.h"
#include "base/listing.h"
#include "base/resource.h"
#include "text/csv.h"
#include "text/python_string.h"

namespace eyrie::text {
namespace {

struct Document {
  std::string place;  // "data/eval/piqa/valid.jsonl:12"
  Value fields;
};

std::vector<std::pair<std::int64_t, std::string_view>> lines_of(std::string_view contents) {
  std::vector<std::pair<std::int64_t, std::string_view>> lines;
  std::int64_t number = 0;
  while (!contents.empty()) {
    const std::size_t end = contents.find('\n');
    const std::string_view line = contents.substr(0, end);
    ++number;
    if (!strip(line).empty()) lines.emplace_back(number, line);
    contents.remove_prefix(end == std::string_view::npos ? contents.size() : end + 1);
  }
  return lines;
}

// Reads a text file, decompressed and without a byte order mark.
std::string read_text(const std::string& path) {
  base::FileInput input(path);
  std::string contents;
  while (input.read(contents)) {
  }
  const std::string other = base::not_text(std::string_view(contents).substr(0, 600));
  if (!other.empty()) throw base::InputError(fmt::format("{}: {}", path, other));
  if (contents.starts_with(base::kByteOrderMark)) contents.erase(0, base::kByteOrderMark.size());
  return contents;
}

std::vector<Document> read_jsonl(const std::string& contents, const std::string& name) {
  std::vector<Document> documents;
  for (const auto& [number, line] : lines_of(contents)) {
    std::string place = fmt::format("{}:{}", name, number);
    Value fields = parse_json(line, place);
    if (fields.get<Value::Map>() == nullptr) {
      throw base::InputError(
          fmt::format("{}: an object ({{…}}) is expected, not {}", place, fields.kind()));
    }
    documents.push_back({std::move(place), std::move(fields)});
  }
  return documents;
}

std::vector<Document> read_csv(const std::string& contents, const std::string& name,
                               std::vector<std::string> columns) {
  std::vector<Document> documents;
  for (CsvRow& row : parse_csv(contents, name)) {
    if (columns.empty()) {
      columns = std::move(row.fields);
      continue;
    }
    std::string place = fmt::format("{}:{}", name, row.line);
    if (row.fields.size() != columns.size()) {
      throw base::InputError(fmt::format("{}: {} fields, but {} columns are expected ({})", place,
                                         row.fields.size(), columns.size(),
                                         fmt::join(columns, ", ")));
    }
    Value::Map fields;
    for (std::size_t i = 0; i < columns.size(); ++i) {
      fields.emplace_back(columns[i], Value{std::move(row.fields[i])});
    }
    documents.push_back({std::move(place), {std::move(fields)}});
  }
  return documents;
}

void add_labels(std::vector<Document>& documents, const std::string& contents,
                const std::string& name, const std::string& documents_name) {
  const auto lines = lines_of(contents);
  if (lines.size() != documents.size()) {
    throw base::InputError(
        fmt::format("{}: {} labels for the {} documents of {}; one a line is expected", name,
                    lines.size(), documents.size(), documents_name));
  }
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const std::string_view word = strip(lines[i].second);
    std::int64_t label = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), label);
    if (error != std::errc() || end != word.data() + word.size()) {
      throw base::InputError(
          fmt::format("{}:{}: \"{}\" is not a label (a whole number)", name, lines[i].first, word));
    }
    auto& fields = std::get<Value::Map>(documents[i].fields.data);
    fields.emplace_back().first = "label";
    fields.back().second.data = label;
  }
}

std::vector<std::string> render_all(const std::vector<Template>& templates, const Value& document) {
  if (templates.size() == 1) return templates[0].render_list(document);
  std::vector<std::string> texts;
  for (const Template& one : templates) texts.push_back(one.render(document));
  return texts;
}

// Returns the index of the right choice, or -1 if `text`, the right answer, is none of the choices.
int gold_of(const TaskDefinition& task, const Value& document, std::size_t choices,
            std::string& text) {
  text = task.gold.render(document);
  std::vector<std::string> labels = render_all(task.gold_labels, document);
  if (task.gold_labels.empty()) {
    for (std::size_t i = 0; i < choices; ++i) labels.push_back(fmt::format("{}", i));
  }
  for (std::size_t i = 0; i < labels.size() && i < choices; ++i) {
    if (labels[i] == text) return static_cast<int>(i);
  }
  return -1;
}

TaskItem render(const TaskDefinition& task, const TaskDefinition::Split& split, std::int64_t index,
                Document&& document) {
  TaskItem item;
  item.task = task.name;
  item.split = split.name;
  item.index = index;
  item.document_hash = hash_of(document.fields);
  for (const auto& [name, source] : task.derive) {
    Value value{source.render(document.fields)};
    auto& fields = std::get<Value::Map>(document.fields.data);
    std::erase_if(fields, [&](const auto& field) { return field.first == name; });
    fields.emplace_back(name, std::move(value));
  }
  const Value& fields = document.fields;
  item.question = task.question.render(fields);
  item.choices = render_all(task.choices, fields);
  item.targets = task.targets.empty() ? item.choices : render_all(task.targets, fields);
  if (item.targets.size() != item.choices.size()) {
    throw base::InputError(
        fmt::format("{} targets for {} choices", item.targets.size(), item.choices.size()));
  }
  if (task.type == TaskType::kLogLikelihood && item.choices.size() != 1) {
    throw base::InputError(
        fmt::format("{} choices; a task of the type loglikelihood has one", item.choices.size()));
  }
  if (split.labelled) {
    std::string text;
    item.gold = gold_of(task, fields, item.choices.size(), text);
    if (item.gold < 0) {
      throw base::InputError(fmt::format("the right answer \"{}\" is none of the {} choices", text,
                                         item.choices.size()));
    }
  }
  if (task.prompts.size() == 1) {
    item.prompt = task.prompts[0].render(fields);
  } else {
    item.prompts = render_all(task.prompts, fields);
    if (item.prompts.size() != item.choices.size()) {
      throw base::InputError(
          fmt::format("{} prompts for {} choices", item.prompts.size(), item.choices.size()));
    }
    item.prompt = item.prompts[item.gold < 0 ? 0 : static_cast<std::size_t>(item.gold)];
  }
  return item;
}

class FileTask final : public Task {
 public:
  FileTask(TaskDefinition definition, base::Path data)
      : definition_(std::move(definition)), data_(std::move(data)) {
    for (const auto& split : definition_.data) splits_.push_back(split.name);
    for (const auto& split : definition_.data) {
      const bool needed =
          split.name == definition_.evaluated_split() || split.name == definition_.shot_split();
      if (!needed) continue;
      find(split.file);
      if (!split.labels.empty()) find(split.labels);
    }
  }

  const std::string& name() const override { return definition_.name; }
  const std::vector<std::string>& splits() const override { return splits_; }
  const TaskDefinition& definition() const override { return definition_; }

  const std::vector<TaskItem>& items(const std::string& split) const override {
    const TaskDefinition::Split& wanted = definition_.split(split);
    const std::lock_guard lock(mutex_);
    const auto known = items_.find(split);
    return known != items_.end() ? known->second
                                 : items_.emplace(split, read(wanted)).first->second;
  }

 private:
  std::string find(const std::string& file) const {
    const base::Path found = find_data(data_, file);
    if (!found.empty()) return found.string();
    throw base::InputError(
        fmt::format("{}: not there; the task {} needs it. Evaluation data was looked for in {}; "
                    "choose another folder with --data or EYRIE_EVAL_DATA",
                    (data_ / file).string(), definition_.name, data_.string()));
  }

  std::vector<TaskItem> read(const TaskDefinition::Split& split) const {
    const std::string path = find(split.file);
    const std::string contents = read_text(path);
    const base::Path plain = path.ends_with(".gz") || path.ends_with(".zst")
                                 ? base::Path(path).stem()
                                 : base::Path(path);
    std::vector<Document> documents = plain.extension() == ".csv"
                                          ? read_csv(contents, path, definition_.columns)
                                          : read_jsonl(contents, path);
    if (!split.labels.empty()) {
      const std::string labels = find(split.labels);
      add_labels(documents, read_text(labels), labels, path);
    }
    if (documents.empty())
      throw base::InputError(path + ": no documents in it; copy the file again");
    std::vector<TaskItem> items;
    items.reserve(documents.size());
    for (Document& document : documents) {
      try {
        items.push_back(render(definition_, split, static_cast<std::int64_t>(items.size()),
                               std::move(document)));
      } catch (const base::InputError& error) {
        throw base::InputError(
            fmt::format("{}: task {}: {}", document.place, definition_.name, error.what()));
      }
    }
    return items;
  }

  TaskDefinition definition_;
  base::Path data_;
  std::vector<std::string> splits_;
  mutable std::mutex mutex_;
  mutable std::map<std::string, std::vector<TaskItem>> items_;  // guarded by mutex_; stable nodes
};

}  // namespace

base::Path default_evaluation_data() {
  const char* chosen = std::getenv("EYRIE_EVAL_DATA");
  if (chosen != nullptr && *chosen != '\0') return chosen;
  const base::Path found = base::find_resource("data/eval", "evaluation_data");
  return found.empty() ? base::Path("data/eval") : found;
}

base::Path find_data(const base::Path& folder, const std::string& file) {
  base::Path found;
  for (const char* ending : {"", ".gz", ".zst"}) {
    const base::Path path = (folder / file).string() + ending;
    if (!base::is_regular_file(path)) continue;
    if (!found.empty())
      throw base::InputError(fmt::format(
          "{} and {} are both there, and nobody knows whether they hold the same: remove one",
          found.string(), path.string()));
    found = path;
  }
  return found;
}

std::vector<std::shared_ptr<const Task>> open_tasks(const std::string& name,
                                                    const TaskCatalog& catalog,
                                                    const TaskPlaces& places) {
  std::vector<std::shared_ptr<const Task>> tasks;
  for (const std::string& leaf : catalog.leaves(name)) {
    tasks.push_back(std::make_shared<FileTask>(catalog.tasks.at(leaf), places.data));
  }
  return tasks;
}

std::vector<std::shared_ptr<const Task>> open_tasks(const std::string& name,
                                                    const TaskPlaces& places) {
  return open_tasks(name, read_tasks(places.task_directories), places);
}

std::vector<TaskItem> all_items(const std::string& name, const TaskPlaces& places) {
  std::vector<TaskItem> all;
  for (const auto& task : open_tasks(name, places)) {
    for (const std::string& split : task->splits()) {
      const std::vector<TaskItem>& items = task->items(split);
      all.insert(all.end(), items.begin(), items.end());
    }
  }
  return all;
}

}  // namespace eyrie::text
