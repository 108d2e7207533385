// The seal behind Eyrie's HDF5 files: a table of where data lies, and a hash of every byte that is
// not data (docs/formats/checkpoint.md).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/file.h"

namespace eyrie::base {

// Where data lies: [offset, offset + bytes).
struct Extent {
  std::uint64_t offset;
  std::uint64_t bytes;
};

// Writes the seal of a file whose HDF5 part is [0, end). `extents`: in the file's order.
void write_seal(File& file, const std::vector<Extent>& extents, std::uint64_t end);

// Where the HDF5 part ends and the seal begins, or in `wrong` what is wrong with the file. Throws
// Error: it cannot be read.
struct Seal {
  std::uint64_t end = 0;
  std::string wrong;
};
Seal check_seal(const File& file);

}  // namespace eyrie::base
