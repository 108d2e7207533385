// From what a user writes to the files that are meant.
#pragma once

#include <string>
#include <vector>

#include "base/file.h"

namespace eyrie::data_pipeline {

// The files that match, sorted by name, each once; at least one. A file that is there under exactly
// the given name is that file, and the folders of a pattern that are there under exactly their
// names are those, whatever characters they hold. Otherwise `*`, `?` and `[…]` as in a shell, a
// group "(.gz|.zst)" for nothing or one of its alternatives, and `\` before a character that means
// itself. InputError names the pattern: nothing matches, only folders do, a pipe or a device, a
// folder that cannot be read.
std::vector<base::Path> matching_files(const std::string& pattern);

}  // namespace eyrie::data_pipeline
