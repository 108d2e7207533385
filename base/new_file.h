// A file that appears under its path at commit(), whole or not at all.
#pragma once

#include "base/file.h"

namespace eyrie::base {

// Written under an unpredictable name beside its path, created exclusively. Symbolic links are
// followed to their end; a file that is replaced keeps its permissions. Without commit() nothing is
// left behind.
class NewFile {
 public:
  // Throws InputError if a directory, a device, a pipe or a socket is there.
  explicit NewFile(const Path& path);
  NewFile(NewFile&& other) noexcept;
  NewFile& operator=(NewFile&&) = delete;
  ~NewFile();

  File& file() { return file_; }
  enum class Sync { kYes, kNo };  // kNo: after a crash the file may exist with other bytes
  void commit(Sync sync = Sync::kYes);

 private:
  struct Place;
  explicit NewFile(const Place& place);
  Path path_, temporary_;  // temporary_: empty after commit()
  File file_;
};

}  // namespace eyrie::base
