// Values from JSON, and their hash.
#include "text/value.h"

#include <fmt/format.h>

#include <charconv>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/hash.h"
#include "text/python_string.h"

namespace eyrie::text {
namespace {

Value number_of(std::string_view text) {
  const auto whole_text = [&](const std::from_chars_result& read) {
    return read.ec == std::errc() && read.ptr == text.data() + text.size();
  };
  std::int64_t whole = 0;
  if (whole_text(std::from_chars(text.data(), text.data() + text.size(), whole))) return {whole};
  const bool fraction = text.find_first_of(".eE") != text.npos;
  double number = 0;
  if (fraction && whole_text(std::from_chars(text.data(), text.data() + text.size(), number)))
    return {number};
  const bool tiny = fraction && (text.find("e-") != text.npos || text.find("E-") != text.npos);
  return tiny ? Value{0.0} : Value{Value::Number{std::string(text)}};
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
  if (const auto* one = value.get<Value::Number>()) return one->text;
  return nullptr;
}

// Finds half a surrogate pair as JsonText::text() keeps it: three bytes from ED A0 80 on.
bool has_half_pair(std::string_view text) {
  for (std::size_t at = text.find('\xED'); at != text.npos; at = text.find('\xED', at + 1))
    if (at + 1 < text.size() && static_cast<unsigned char>(text[at + 1]) >= 0xA0) return true;
  return false;
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
                                       "a text",  "a list",        "a map",          "a number"};
  return kKinds[data.index()];
}

std::string Value::as_text(const std::string& what) const {
  if (const auto* text = get<std::string>()) {
    if (has_half_pair(*text))
      throw base::InputError(
          fmt::format("{} holds half of a surrogate pair, which stands for no character", what));
    return *text;
  }
  if (const auto* number = get<Number>()) return number->text;
  if (const auto* number = get<std::int64_t>()) return fmt::format("{}", *number);
  if (const auto* number = get<double>()) return float_text(*number);
  if (const auto* truth = get<bool>()) return *truth ? "True" : "False";
  throw base::InputError(fmt::format("{} is {}, where a text is needed", what, kind()));
}

Value value_of(const base::JsonText& json) {
  using Kind = base::JsonText::Kind;
  switch (json.kind()) {
    case Kind::kNull:
      return {nullptr};
    case Kind::kBoolean:
      return {json.raw() == "true"};
    case Kind::kNumber:
      return number_of(json.raw());
    case Kind::kString:
      return {json.text(true)};
    case Kind::kList: {
      Value::List list;
      for (const base::JsonText& one : json.elements()) list.push_back(value_of(one));
      return {std::move(list)};
    }
    case Kind::kObject:
      break;
  }
  Value::Map map;
  std::set<std::string> keys;
  json.each([&](const std::string& key, const base::JsonText& one) {
    if (!keys.insert(key).second)
      throw base::JsonError(fmt::format("the key \"{}\" is there twice", key), one.at(), false);
    map.emplace_back(key, value_of(one));
  });
  return {std::move(map)};
}

Value parse_json(std::string_view json, const std::string& place) {
  try {
    return value_of(base::JsonText::parse(json));
  } catch (const base::JsonError& error) {
    throw base::InputError(fmt::format("{}:{}: {}", place, error.at() + 1, error.what()));
  }
}

std::uint64_t hash_of(const Value& value) {
  return base::hash_text(
      to_json(value).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

}  // namespace eyrie::text
