// Parsing that looks at the keys of every object.
#include "model/weights/json_file.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <set>
#include <vector>

#include "base/error.h"

namespace eyrie::model {

nlohmann::json read_json_object(const base::Path& path) {
  using nlohmann::json;
  std::vector<std::set<std::string>> keys;  // of the objects that are open
  const auto look = [&](int /*depth*/, json::parse_event_t event, json& parsed) {
    if (event == json::parse_event_t::object_start) keys.emplace_back();
    if (event == json::parse_event_t::object_end) keys.pop_back();
    if (event == json::parse_event_t::key &&
        !keys.back().insert(parsed.get<std::string>()).second) {
      throw base::InputError(
          fmt::format("{}: the key {} is there twice; remove one", path.string(), parsed.dump()));
    }
    return true;
  };
  json read;
  try {
    read = json::parse(base::read_file(path), look);
  } catch (const json::exception&) {
    throw base::InputError(fmt::format("{}: not JSON", path.string()));
  }
  if (!read.is_object()) throw base::InputError(fmt::format("{}: no JSON object", path.string()));
  return read;
}

}  // namespace eyrie::model
