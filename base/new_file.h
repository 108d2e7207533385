// A file that appears under its path at commit(), whole or not at all.
#pragma once

#include "base/file.h"

namespace eyrie::base {

// Written under a name beside its path that nobody can foresee, made exclusively. Links are
// followed to where they end; the permissions of a file that is replaced stay. Without commit()
// nothing stays behind.
class NewFile {
 public:
  // InputError: a directory, a device, a pipe or a socket is there.
  explicit NewFile(const Path& path);
  NewFile(NewFile&& other) noexcept;
  NewFile& operator=(NewFile&&) = delete;
  ~NewFile();

  File& file() { return file_; }
  enum class Sync { kYes, kNo };  // kNo: after a crash it may be there with other bytes
  void commit(Sync sync = Sync::kYes);

 private:
  struct Place;
  explicit NewFile(const Place& place);
  Path path_, temporary_;  // temporary_: empty once it is committed
  File file_;
};

}  // namespace eyrie::base
