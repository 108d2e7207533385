// JSON files beside weights: config.json and the index of several weight files.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "base/file.h"

namespace eyrie::model {

// One JSON object, in which no key comes twice at one place: of two values one would be taken
// silently. InputError names the file, line and column, and the key.
nlohmann::json read_json_object(const base::Path& path);

}  // namespace eyrie::model
