// What hdf5_writer.cc, hdf5_reader.cc and hdf5_import.cc share of the HDF5 library: its lock,
// handles and errors, and the types and attributes in Eyrie's files. An hid_t is a 64-bit number,
// so this header does not need the library's own.
#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <string>

#include "base/hdf5_driver.h"
#include "base/hdf5_file.h"

namespace eyrie::base {

// The library is not thread-safe, and its messages belong into our errors, not on stderr. Hold this
// lock around all calls of the library on Eyrie's files.
class Hdf5Lock {
 public:
  Hdf5Lock();

 private:
  std::lock_guard<std::mutex> lock_;
};

// Closes what the library opened. A negative id means that nothing is open.
struct Hdf5Handle {
  std::int64_t id;
  int (*close)(std::int64_t);
  Hdf5Handle(std::int64_t id, int (*close)(std::int64_t)) : id(id), close(close) {}
  Hdf5Handle(const Hdf5Handle&) = delete;
  ~Hdf5Handle() {
    if (id >= 0) close(id);
  }
  operator std::int64_t() const { return id; }
};

// Throws the error of a failed library call: the disk's error if there was one.
void throw_hdf5_error(const Path& path, const Hdf5DriverFile& under, const char* doing);
template <class Result>
Result check_hdf5(Result result, const Path& path, const Hdf5DriverFile& under, const char* doing) {
  if (under.error || result < 0) throw_hdf5_error(path, under, doing);
  return result;
}

std::int64_t stored_type(Hdf5Type type);               // little-endian on every machine
std::optional<Hdf5Type> type_of(std::int64_t stored);  // empty: not one of Eyrie's types
// Returns the product of the axes, or nothing if one is negative or the bytes do not fit 63 bits.
std::optional<std::int64_t> elements_of(const Hdf5Shape& shape);

void write_attribute(std::int64_t object, const std::string& name, const Hdf5Attribute& value,
                     const Path& path, const Hdf5DriverFile& under);
Hdf5Attribute read_attribute(std::int64_t attribute, const Path& path, const Hdf5DriverFile& under);

}  // namespace eyrie::base
