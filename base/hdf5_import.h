// HDF5 files written by others: data sets of numbers in any group, chunked and compressed or not.
// Eyrie's own files have another reader (base/hdf5_file.h), which does not have to trust the HDF5
// library. This one does: a damaged file may crash it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/file.h"

namespace eyrie::base {

// Not thread-safe, and not to be used while others use the HDF5 library. InputErrors name the file
// and the data set.
class ImportedHdf5 {
 public:
  explicit ImportedHdf5(const Path& path);
  ImportedHdf5(const ImportedHdf5&) = delete;
  ImportedHdf5& operator=(const ImportedHdf5&) = delete;
  ~ImportedHdf5();

  struct DataSet {
    std::vector<std::int64_t> shape;
    int bytes = 0;  // per element of a floating-point type; 0: another type
  };
  // By path, without a leading '/'.
  const std::map<std::string, DataSet>& data_sets() const { return data_sets_; }

  // Reads elements [first, first + count) in row-major order, converted to fp32.
  void read(const std::string& name, std::int64_t first, std::int64_t count, float* out) const;

 private:
  Path path_;
  std::int64_t file_ = -1;
  std::map<std::string, DataSet> data_sets_;
};

}  // namespace eyrie::base
