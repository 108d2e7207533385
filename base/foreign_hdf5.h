// HDF5 files that others wrote: data sets of numbers in any group, chunked and compressed or not.
// Eyrie's own files have a reader of their own (base/hdf5_file.h), which needs no trust in the HDF5
// library; this one does: a damaged file may crash it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/file.h"

namespace eyrie::base {

// For one thread at a time, and not beside other users of the HDF5 library. InputError names the
// file and the data set.
class ForeignHdf5 {
 public:
  explicit ForeignHdf5(const Path& path);
  ForeignHdf5(const ForeignHdf5&) = delete;
  ForeignHdf5& operator=(const ForeignHdf5&) = delete;
  ~ForeignHdf5();

  struct DataSet {
    std::vector<std::int64_t> shape;
    int bytes = 0;  // an element of a floating-point type; 0: not of such a type
  };
  // By their paths, without a leading '/'.
  const std::map<std::string, DataSet>& data_sets() const { return data_sets_; }

  // Elements [first, first + count) in row-major order, converted to fp32.
  void read(const std::string& name, std::int64_t first, std::int64_t count, float* out) const;

 private:
  Path path_;
  std::int64_t file_ = -1;
  std::map<std::string, DataSet> data_sets_;
};

}  // namespace eyrie::base
