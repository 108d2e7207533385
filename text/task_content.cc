// Hashes of items; each text is preceded by its length.
#include "text/task_content.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <string_view>
#include <utility>

#include "base/hash.h"

namespace eyrie::text {
namespace {

class TextHasher {
 public:
  void add(std::string_view text) {
    const std::uint64_t size = text.size();
    hasher_.add(std::as_bytes(std::span(&size, 1)));
    hasher_.add(text);
  }
  void add(const std::vector<std::string>& texts) {
    add(fmt::format("{}", texts.size()));
    for (const std::string& text : texts) add(text);
  }
  std::uint64_t value() const { return hasher_.value(); }

 private:
  base::Hasher hasher_;
};

}  // namespace

std::uint64_t content_of(const TaskItem& item) {
  TextHasher hasher;
  hasher.add(item.question);
  hasher.add(item.choices);
  hasher.add(fmt::format("{}", item.gold));
  hasher.add(item.prompt);
  hasher.add(item.prompts);
  hasher.add(item.targets);
  return hasher.value();
}

std::string content_of(const std::vector<TaskItem>& items) {
  std::vector<std::uint64_t> hashes;
  hashes.reserve(items.size());
  for (const TaskItem& item : items) hashes.push_back(content_of(item));
  return content_of(std::move(hashes));
}

std::string content_of(std::vector<std::uint64_t> items) {
  std::sort(items.begin(), items.end());
  return base::hex(base::hash_bytes(std::as_bytes(std::span(items))));
}

}  // namespace eyrie::text
