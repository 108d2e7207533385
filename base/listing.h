// Looks at files and folders so that an error is never taken for "nothing there": a network file
// system that is unavailable for a moment, or an unreadable folder, must not look empty.
#pragma once

#include <cstdint>
#include <vector>

#include "base/file.h"

namespace eyrie::base {

// A path counts as missing only if the system says so: no such file, or a part of the path is not a
// folder. Symbolic links are followed. A dangling link is an Error, and so is everything else that
// prevents looking. Every Error names the path and the system's reason.
bool is_there(const Path& path);
bool is_folder(const Path& path);               // exists and is a folder
bool is_regular_file(const Path& path);         // exists and is no folder, device or pipe
std::uint64_t bytes_of_file(const Path& path);  // InputError if it does not exist

// Returns a folder's entries as folder/NAME, sorted; empty if the folder does not exist. Throws
// Error if it is not a folder.
std::vector<Path> list_folder(const Path& folder);

// Throws Error if an existing file cannot be opened for reading, so that this is not taken for
// damage to its bytes. A missing file is fine.
void check_readable(const Path& path);

}  // namespace eyrie::base
