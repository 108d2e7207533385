// One value of a task's document: what a JSON line or a CSV row holds.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/json_text.h"

namespace eyrie::text {

struct Value {
  using List = std::vector<Value>;
  using Map = std::vector<std::pair<std::string, Value>>;  // in file order
  struct Number {  // does not fit 64 bits or a double: kept as written
    std::string text;
  };
  std::variant<std::nullptr_t, bool, std::int64_t, double, std::string, List, Map, Number> data =
      nullptr;

  template <class T>
  const T* get() const {
    return std::get_if<T>(&data);
  }
  // For a map: the value of `key`, or null if there is none.
  const Value* find(std::string_view key) const;
  // Returns a text, a number, or true or false, as text. Throws InputError for anything else;
  // `what` names the value. Also throws for a text with half a surrogate pair, which stands for no
  // character; in a value that nobody reads it does no harm.
  std::string as_text(const std::string& what) const;
  std::string kind() const;  // "a text", "a list", …
};

// Throws InputError "PLACE: not JSON: …", also for a duplicate key.
Value parse_json(std::string_view json, const std::string& place);
// The same for a part of a JSON text. Throws JsonError for a duplicate key.
Value value_of(const base::JsonText& json);

// A hash of keys and values, the same for equal documents. The order of a map's keys does not
// count.
std::uint64_t hash_of(const Value& value);

}  // namespace eyrie::text
