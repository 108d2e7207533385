// Format of a file: one line of JSON with the identity of the answers and their hash, then one line
// per answer.
#include "eval/answer_cache.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "base/error.h"
#include "base/hash.h"
#include "base/listing.h"
#include "base/log.h"

namespace eyrie::eval {
namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

constexpr const char* kFormat = "eyrie-unfinished-evaluation";

std::string file_text(const std::string& identity, const std::string& how, const Answers& answers) {
  const std::string lines = to_lines(answers);
  return Json{{"format", kFormat},
              {"version", 1},
              {"identity", Json::parse(identity)},
              {"computed", how},
              {"answers", count(answers)},
              {"hash", base::hex(base::hash_text(lines))}}
             .dump() +
         "\n" + lines;
}

struct Parsed {
  std::string identity, how;
  Answers answers;
};

// Returns nothing if the file is not of this format or is damaged.
std::optional<Parsed> parse(const std::string& text) {
  const std::size_t end = std::min(text.find('\n'), text.size());
  const Json head = Json::parse(std::string_view(text).substr(0, end), nullptr, false);
  if (!head.is_object() || head.value("format", "") != kFormat || head.value("version", 0) != 1 ||
      !head.contains("identity"))
    return {};
  const std::string_view lines = std::string_view(text).substr(std::min(end + 1, text.size()));
  if (head.value("hash", "") != base::hex(base::hash_text(lines))) return {};
  return Parsed{head.at("identity").dump(), head.value("computed", ""), from_lines(lines)};
}

std::vector<base::Path> files_in(const base::Path& folder) {
  std::vector<base::Path> files;
  if (!base::is_there(folder)) return files;
  for (const base::Path& entry : base::list_folder(folder)) {
    const std::string name = entry.filename().string();
    if (name.starts_with("answers") && name.ends_with(".jsonl")) files.push_back(entry);
  }
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace

std::int64_t count(const Answers& answers) {
  std::int64_t all = 0;
  for (const auto& [task, scores] : answers) all += static_cast<std::int64_t>(scores.size());
  return all;
}

void add(const Answers& more, Answers& answers) {
  for (const auto& [task, scores] : more) answers[task].insert(scores.begin(), scores.end());
}

std::string to_lines(const Answers& answers) {
  std::string lines;
  for (const auto& [task, scores] : answers) {
    for (const auto& [place, score] : scores) {
      if (!std::isfinite(score.log_likelihood)) continue;
      lines += Json{task, place.first, place.second, score.log_likelihood, score.is_greedy}.dump() +
               "\n";
    }
  }
  return lines;
}

Answers from_lines(std::string_view lines) {
  Answers answers;
  while (!lines.empty()) {
    const std::size_t end = std::min(lines.find('\n'), lines.size());
    const Json line = Json::parse(lines.substr(0, end), nullptr, false);
    if (!line.is_array() || line.size() != 5)
      throw base::Error("a line of kept answers is damaged");
    answers[line[0].get<std::string>()]
           [{line[1].get<std::int64_t>(), line[2].get<std::int64_t>()}] = {line[3].get<double>(),
                                                                           line[4].get<bool>()};
    lines.remove_prefix(std::min(end + 1, lines.size()));
  }
  return answers;
}

AnswerCache::AnswerCache(const base::Path& directory, const std::string& identity, std::string how)
    : folder_(folder(directory)), identity_(Json::parse(identity).dump()), how_(std::move(how)) {}

Answers AnswerCache::begin() {
  base::make_directories(folder_);
  Answers all;
  const std::vector<base::Path> files = files_in(folder_);
  for (const base::Path& file : files) {
    const auto there = parse(base::read_file(file));
    if (there && there->identity == identity_ && there->how == how_) {
      add(there->answers, all);
      continue;
    }
    const std::string why = !there                         ? "damaged"
                            : there->identity != identity_ ? "answers of another evaluation"
                                                           : "answers computed with " + there->how;
    base::log_warning(fmt::format("{}: {}; they are computed anew", file.string(), why));
  }
  // The merged file is written before the others are removed, so that every answer is always in
  // some file.
  base::write_file(folder_ / "answers.jsonl", file_text(identity_, how_, all));
  for (const base::Path& file : files) {
    if (file.filename() != "answers.jsonl") fs::remove(file);
  }
  return all;
}

void AnswerCache::write(int rank, const Answers& answers) const {
  base::write_file(folder_ / fmt::format("answers-{:05}.jsonl", rank),
                   file_text(identity_, how_, answers));
}

std::string AnswerCache::identity_in(const base::Path& directory) {
  for (const base::Path& file : files_in(folder(directory))) {
    if (const auto there = parse(base::read_file(file))) return there->identity;
  }
  return "";
}

}  // namespace eyrie::eval
