// Values from JSON, and their hash.
#include "text/value.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/hash.h"
#include "text/python_string.h"

namespace eyrie::text {
namespace {

Value from_json(const nlohmann::ordered_json& json) {
  switch (json.type()) {
    case nlohmann::json::value_t::boolean:
      return {json.get<bool>()};
    case nlohmann::json::value_t::number_integer:
    case nlohmann::json::value_t::number_unsigned:
      return {json.get<std::int64_t>()};
    case nlohmann::json::value_t::number_float:
      return {json.get<double>()};
    case nlohmann::json::value_t::string:
      return {json.get<std::string>()};
    case nlohmann::json::value_t::array: {
      Value::List list;
      for (const auto& one : json) list.push_back(from_json(one));
      return {std::move(list)};
    }
    case nlohmann::json::value_t::object: {
      Value::Map map;
      for (const auto& [key, one] : json.items()) map.emplace_back(key, from_json(one));
      return {std::move(map)};
    }
    default:
      return {nullptr};
  }
}

nlohmann::json to_json(const Value& value) {  // keys sorted
  if (const auto* list = value.get<Value::List>()) {
    auto json = nlohmann::json::array();
    for (const Value& one : *list) json.push_back(to_json(one));
    return json;
  }
  if (const auto* map = value.get<Value::Map>()) {
    auto json = nlohmann::json::object();
    for (const auto& [key, one] : *map) json[key] = to_json(one);
    return json;
  }
  if (const auto* one = value.get<bool>()) return *one;
  if (const auto* one = value.get<std::int64_t>()) return *one;
  if (const auto* one = value.get<double>()) return *one;
  if (const auto* one = value.get<std::string>()) return *one;
  return nullptr;
}

}  // namespace

const Value* Value::find(std::string_view key) const {
  if (const Map* map = get<Map>()) {
    for (const auto& [name, value] : *map) {
      if (name == key) return &value;
    }
  }
  return nullptr;
}

std::string Value::kind() const {
  static const char* const kKinds[] = {"nothing", "true or false", "a whole number", "a number",
                                       "a text",  "a list",        "a map"};
  return kKinds[data.index()];
}

std::string Value::as_text(const std::string& what) const {
  if (const auto* text = get<std::string>()) return *text;
  if (const auto* number = get<std::int64_t>()) return fmt::format("{}", *number);
  if (const auto* number = get<double>()) return float_text(*number);
  if (const auto* truth = get<bool>()) return *truth ? "True" : "False";
  throw base::InputError(fmt::format("{} is {}, where a text is needed", what, kind()));
}

Value parse_json(std::string_view json, const std::string& place) {
  try {
    return from_json(nlohmann::ordered_json::parse(json.begin(), json.end()));
  } catch (const nlohmann::json::exception& error) {
    throw base::InputError(
        fmt::format("{}: not JSON ({}); the file is cut off or damaged", place, error.what()));
  }
}

std::uint64_t hash_of(const Value& value) {
  return base::hash_text(
      to_json(value).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

}  // namespace eyrie::text
