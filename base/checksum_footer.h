// The checksum footer at the end of Eyrie's HDF5 files: a table of where data lies, and a hash of
// every byte that is not data (docs/formats/checkpoint.md).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/file.h"

namespace eyrie::base {

// A range of data in the file: [offset, offset + bytes).
struct Extent {
  std::uint64_t offset;
  std::uint64_t bytes;
};

// Writes the checksum footer of a file whose HDF5 part is [0, end). `extents` are in the file's
// order.
void write_checksum_footer(File& file, const std::vector<Extent>& extents, std::uint64_t end);

// Where the HDF5 part ends and the checksum footer begins, or in `wrong` what is wrong with the
// file. Throws Error if the file cannot be read.
struct ChecksumFooter {
  std::uint64_t end = 0;
  std::string wrong;
};
ChecksumFooter check_checksum_footer(const File& file);

}  // namespace eyrie::base
