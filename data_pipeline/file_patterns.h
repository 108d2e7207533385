// Finds the files that match a pattern from DATA.yaml or the command line.
#pragma once

#include <string>
#include <vector>

#include "base/file.h"

namespace eyrie::data_pipeline {

// Returns the files that match, at least one, sorted by name, without duplicates. If a file of
// exactly the given name exists, it is the only match; likewise, leading folders of the pattern
// that exist under exactly their name are taken literally, whatever characters they contain.
// Otherwise `*`, `?` and `[…]` work as in a shell, a group "(.gz|.zst)" stands for nothing or one
// of its alternatives, and `\` makes the next character literal. Throws InputError naming the
// pattern if nothing matches, only folders match, a match is a pipe or a device, or a folder cannot
// be read.
std::vector<base::Path> matching_files(const std::string& pattern);

}  // namespace eyrie::data_pipeline
