// One value of a task's document: what a JSON line or a CSV row holds.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace eyrie::text {

struct Value {
  using List = std::vector<Value>;
  using Map = std::vector<std::pair<std::string, Value>>;  // in file order
  std::variant<std::nullptr_t, bool, std::int64_t, double, std::string, List, Map> data = nullptr;

  template <class T>
  const T* get() const {
    return std::get_if<T>(&data);
  }
  // Of a map; null where the key is not there.
  const Value* find(std::string_view key) const;
  // A text, a whole number, a number, or true or false, as text. InputError for anything else;
  // `what` names the value.
  std::string as_text(const std::string& what) const;
  std::string kind() const;  // "a text", "a list", …
};

// InputError: "PLACE: not JSON: …".
Value parse_json(std::string_view json, const std::string& place);

// Of keys, values and their order: the same for equal documents.
std::uint64_t hash_of(const Value& value);

}  // namespace eyrie::text
