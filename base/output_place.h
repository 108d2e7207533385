// Where an output goes. What lies under its path decides how it is written: a regular file, or
// nothing, is replaced as a whole; a symbolic link is followed to where it ends, and what is there
// decides; a device, a pipe or one of this process's own descriptors (/dev/stdout) takes the bytes
// as a stream.
#pragma once

#include <string>

#include "base/file.h"

namespace eyrie::base {

struct OutputPlace {
  enum class Kind { kFile, kStream };
  Kind kind = Kind::kFile;
  Path path;                  // links followed; need not be there where it is a file
  int descriptor = -1;        // of this process, where the path names one
  unsigned permissions = 0;   // of the regular file that is there; 0: none is
  std::string what = "file";  // "device", "pipe", for messages
};

// InputError: a directory or a socket is there; links without end; a link that somebody else has
// put into a folder where everybody may write (as Linux's protected_symlinks has it).
OutputPlace find_output_place(const Path& path);

enum class Order { kStream, kAny };  // whether the bytes are written front to back

// Refuses what cannot be written, before work is put into what is to be written there: tries it,
// by a file beside it that is removed. Pipes are not opened, so nobody has to read yet. `what`
// ("--output", "run.yaml:3: output") begins the message. InputError: no such folder, no permission,
// a file system for reading alone, a pipe for a format that is not written front to back. Error:
// the file system fails.
void check_output_file(const std::string& what, const Path& path, Order order = Order::kStream);

// The same of a folder in which files are to be written. Where it is not there yet, the deepest
// folder above it that is must take one; nothing stays, and nothing that another process makes at
// the same time is in danger. `make`: it is made first.
void check_output_folder(const std::string& what, const Path& folder, bool make = false);

}  // namespace eyrie::base
