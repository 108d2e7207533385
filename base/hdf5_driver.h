// The virtual file driver through which the HDF5 library reads and writes structure over a
// base::File, so that injected faults apply and nobody locks. Used by hdf5_writer.cc and hdf5_reader.cc.
#pragma once

#include <cstdint>
#include <exception>

#include "base/file.h"

namespace eyrie::base {

// What a driver works on. Must outlive the HDF5 file that is opened over it.
struct Hdf5DriverFile {
  File* file = nullptr;
  std::uint64_t end = 0;  // of what the HDF5 library knows of the file
  // The first error. After a failed write all later ones are dropped and reported as done: the
  // library cannot close a file cleanly whose writes fail. So ask for it after every close.
  std::exception_ptr error;
};

// An HDF5 file access property list (hid_t, to be closed by the caller) with this driver, or a
// negative number. HDF5's lock must be held.
std::int64_t make_hdf5_access(Hdf5DriverFile* file);

}  // namespace eyrie::base
