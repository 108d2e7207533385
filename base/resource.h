// Files that come with Eyrie (task files, evaluation data), found from wherever it is started: in a
// checkout, or in an installed tree, which may lie anywhere.
#pragma once

#include <string>

#include "base/file.h"

namespace eyrie::base {

// Returns the first folder that exists of `in_tree` ("eval/tasks") and share/eyrie/`installed`
// ("tasks"), in the working directory and then in each folder above the executable, and that has
// `file` in it, if that is given. Empty: none.
Path find_resource(const std::string& in_tree, const std::string& installed,
                   const std::string& file = {});

}  // namespace eyrie::base
