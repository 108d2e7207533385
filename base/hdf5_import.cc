// Reads HDF5 files of others through the library.
#include "base/hdf5_import.h"

#include <fmt/format.h>
#include <hdf5.h>

#include <algorithm>

#include "base/error.h"
#include "base/hdf5_library.h"

namespace eyrie::base {
namespace {

herr_t list_one(hid_t, const char* name, const H5O_info_t* info, void* names) {
  if (info->type == H5O_TYPE_DATASET)
    static_cast<std::vector<std::string>*>(names)->push_back(name);
  return 0;
}

}  // namespace

ImportedHdf5::ImportedHdf5(const Path& path) : path_(path) {
  File::open(path).close();  // for its message if the file is missing
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  file_ = H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  if (file_ < 0) throw InputError(fmt::format("{}: not an HDF5 file", path.string()));
  std::vector<std::string> names;
  const bool listed =
      H5Ovisit2(file_, H5_INDEX_NAME, H5_ITER_NATIVE, list_one, &names, H5O_INFO_BASIC) >= 0;
  for (const std::string& name : names) {
    const Hdf5Handle set(H5Dopen2(file_, name.c_str(), H5P_DEFAULT), H5Dclose);
    const Hdf5Handle space(set.id < 0 ? -1 : H5Dget_space(set.id), H5Sclose);
    const Hdf5Handle type(set.id < 0 ? -1 : H5Dget_type(set.id), H5Tclose);
    const int axes = space.id < 0 ? -1 : H5Sget_simple_extent_ndims(space.id);
    if (axes < 0 || type.id < 0) {
      H5Fclose(file_);
      throw InputError(fmt::format("{}: data set {} cannot be read", path.string(), name));
    }
    std::vector<hsize_t> sizes(static_cast<std::size_t>(axes));
    H5Sget_simple_extent_dims(space.id, sizes.data(), nullptr);
    DataSet& entry = data_sets_[name];
    entry.shape.assign(sizes.begin(), sizes.end());
    if (H5Tget_class(type.id) == H5T_FLOAT) entry.bytes = static_cast<int>(H5Tget_size(type.id));
  }
  if (!listed) {
    H5Fclose(file_);
    throw InputError(fmt::format("{}: its groups cannot be read", path.string()));
  }
}

ImportedHdf5::~ImportedHdf5() { H5Fclose(file_); }

void ImportedHdf5::read(const std::string& name, std::int64_t first, std::int64_t count,
                        float* out) const {
  const DataSet& entry = data_sets_.at(name);
  const Hdf5Handle set(H5Dopen2(file_, name.c_str(), H5P_DEFAULT), H5Dclose);
  bool read = set.id >= 0 && entry.bytes > 0;
  if (read && entry.shape.empty()) {
    read = H5Dread(set.id, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, out) >= 0;
  } else if (read && count > 0) {
    // A range of elements is not a hyperslab: whole rows of the first axis are read and then cut.
    std::int64_t row = 1;
    for (std::size_t axis = 1; axis < entry.shape.size(); ++axis) row *= entry.shape[axis];
    const std::int64_t from = first / row, to = (first + count + row - 1) / row;
    std::vector<hsize_t> start(entry.shape.size()), extent(entry.shape.begin(), entry.shape.end());
    start[0] = static_cast<hsize_t>(from);
    extent[0] = static_cast<hsize_t>(to - from);
    const Hdf5Handle space(H5Dget_space(set.id), H5Sclose);
    const Hdf5Handle memory(
        H5Screate_simple(static_cast<int>(extent.size()), extent.data(), nullptr), H5Sclose);
    std::vector<float> rows(static_cast<std::size_t>((to - from) * row));
    read = H5Sselect_hyperslab(space.id, H5S_SELECT_SET, start.data(), nullptr, extent.data(),
                               nullptr) >= 0 &&
           H5Dread(set.id, H5T_NATIVE_FLOAT, memory.id, space.id, H5P_DEFAULT, rows.data()) >= 0;
    std::copy_n(rows.begin() + (first - from * row), count, out);
  }
  if (!read) {
    throw InputError(fmt::format("{}: data set {} cannot be read as floating-point numbers",
                                 path_.string(), name));
  }
}

}  // namespace eyrie::base
