// The virtual file driver through which the HDF5 library reads and writes structure over a
// base::File, so that injected faults apply and no file locks are taken. Used by hdf5_writer.cc and
// hdf5_reader.cc.
#pragma once

#include <cstdint>
#include <exception>

#include "base/file.h"

namespace eyrie::base {

// The file that a driver works on. Must outlive the HDF5 file that is opened over it.
struct Hdf5DriverFile {
  File* file = nullptr;
  std::uint64_t end = 0;  // of the file, as far as the HDF5 library knows
  // The first error. After a failed write all later ones are dropped and reported as done, because
  // the library cannot cleanly close a file whose writes fail. So check it after every close.
  std::exception_ptr error;
};

// Returns an HDF5 file access property list (hid_t; the caller closes it) with this driver, or a
// negative number. The caller must hold HDF5's lock.
std::int64_t make_hdf5_access(Hdf5DriverFile* file);

}  // namespace eyrie::base
