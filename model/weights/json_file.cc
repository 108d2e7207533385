// Parsing of what every parser reads.
#include "model/weights/json_file.h"

#include <nlohmann/json.hpp>

#include "base/json_text.h"

namespace eyrie::model {

nlohmann::json read_json_object(const base::Path& path) {
  return nlohmann::json::parse(base::read_json_object(path.string()));
}

}  // namespace eyrie::model
