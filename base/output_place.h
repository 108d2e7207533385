// Where an output goes. What is at its path decides how it is written: a regular file, or nothing,
// is replaced as a whole; a symbolic link is followed to its end, and what is there decides; a
// device, a pipe or one of this process's own descriptors (/dev/stdout) takes the bytes as a
// stream.
#pragma once

#include <string>

#include "base/file.h"

namespace eyrie::base {

struct OutputPlace {
  enum class Kind { kFile, kStream };
  Kind kind = Kind::kFile;
  Path path;                  // with links followed; need not exist if it is a file
  int descriptor = -1;        // of this process, if the path names one
  unsigned permissions = 0;   // of the existing regular file; 0: there is none
  std::string what = "file";  // "device", "pipe", for messages
};

// Throws InputError if a directory or a socket is there, or a link that another user has put into a
// folder where everybody may write (as Linux's protected_symlinks does). Throws Error for links
// without end.
OutputPlace find_output_place(const Path& path);

enum class Order { kStream, kAny };  // kStream: the bytes are written front to back

// Refuses an output that cannot be written, before work is spent on it. Tries it by creating and
// removing a file beside it. Pipes are not opened, so nobody has to read yet. The message begins
// with `what` ("--output", "run.yaml:3: output"). InputError: no such folder, no permission, a
// read-only file system, or a pipe for a format that is not written front to back. Error: the file
// system fails.
void check_output_file(const std::string& what, const Path& path, Order order = Order::kStream);

// The same for a folder in which files are to be written. If it does not exist, the deepest
// existing folder above it must accept new files. Nothing is left behind, and nothing that another
// process creates at the same time is in danger. `make`: creates the folder first.
void check_output_folder(const std::string& what, const Path& folder, bool make = false);

}  // namespace eyrie::base
