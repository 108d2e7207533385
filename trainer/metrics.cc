// Writes and truncates metrics.jsonl.
#include "trainer/metrics.h"
#include "base/listing.h"

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

namespace eyrie::trainer {
namespace {

using nlohmann::ordered_json;

std::string kept_lines(const base::Path& path, std::int64_t last_step) {
  if (!base::is_there(path)) return "";
  std::istringstream lines(base::read_file(path));
  std::string line, kept;
  while (std::getline(lines, line)) {
    const auto json = nlohmann::json::parse(line, nullptr, false);
    if (json.is_discarded() || !json.is_object() || json.value("step", last_step + 1) > last_step)
      continue;
    kept += line + "\n";
  }
  return kept;
}

ordered_json number(double value) {
  if (!std::isfinite(value)) return nullptr;
  if (value == std::floor(value) && std::abs(value) < 9e15) return static_cast<std::int64_t>(value);
  return value;
}

}  // namespace

Metrics::Metrics(const base::Path& path, std::int64_t last_step)
    : file_([&] {
        base::write_file(path, kept_lines(path, last_step));
        return base::File::modify(path);
      }()),
      end_(file_.size()) {}

void Metrics::append(const Line& line) {
  ordered_json json{{"step", line.step}, {"stage", line.stage}};
  for (const auto& [name, value] : line.numbers) json[name] = number(value);
  for (const auto& [name, members] : line.groups) {
    for (const auto& [member, value] : members) json[name][member] = number(value);
  }
  const std::string text = json.dump() + "\n";
  file_.write_at(std::as_bytes(std::span(text)), end_);
  end_ += text.size();
}

}  // namespace eyrie::trainer
