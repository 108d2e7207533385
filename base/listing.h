// What lies at a place, asked so that an error is never taken for "nothing there": a network file
// system that is away for a moment, or a folder that may not be read, must not look empty.
#pragma once

#include <cstdint>
#include <vector>

#include "base/file.h"

namespace eyrie::base {

// Nothing is there only where the system says so: no such file, or a part of the path that is no
// folder. Links are followed; one that leads nowhere is an Error, as is everything else that keeps
// from looking. Every Error names the path and the system's reason.
bool is_there(const Path& path);
bool is_folder(const Path& path);        // there, and a folder
bool is_regular_file(const Path& path);  // there, and an ordinary file: no folder, device or pipe
std::uint64_t bytes_of_file(const Path& path);  // InputError: it is not there

// What lies in a folder, as folder/NAME, sorted. Empty where there is no such folder. Error also
// for something that is no folder.
std::vector<Path> list_folder(const Path& folder);

// A file that is there can be opened for reading: what differs from damage, which is in the bytes.
// Nothing there is fine too.
void check_readable(const Path& path);

}  // namespace eyrie::base
