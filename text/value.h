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
  struct Number {  // beyond 64 bits or a double: as it is written
    std::string text;
  };
  std::variant<std::nullptr_t, bool, std::int64_t, double, std::string, List, Map, Number> data =
      nullptr;

  template <class T>
  const T* get() const {
    return std::get_if<T>(&data);
  }
  // Of a map; null where the key is not there.
  const Value* find(std::string_view key) const;
  // A text, a whole number, a number, or true or false, as text. InputError for anything else;
  // `what` names the value. So is a text with half of a surrogate pair, which stands for no
  // character; where nobody reads it, it does no harm.
  std::string as_text(const std::string& what) const;
  std::string kind() const;  // "a text", "a list", …
};

// InputError: "PLACE: not JSON: …"; a key that is there twice.
Value parse_json(std::string_view json, const std::string& place);
// The same of a part of a JSON text. JsonError: a key that is there twice.
Value value_of(const base::JsonText& json);

// Of keys, values and their order: the same for equal documents.
std::uint64_t hash_of(const Value& value);

}  // namespace eyrie::text
