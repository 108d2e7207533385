// Reads HDF5 files: first checks the footer, then reads the structure through the library, and data
// directly from its place.
#include <hdf5.h>

#include <optional>
#include <utility>

#include <fmt/format.h>

#include "base/checksum_footer.h"
#include "base/hdf5_driver.h"
#include "base/hdf5_file.h"
#include "base/hdf5_library.h"

namespace eyrie::base {

Hdf5Reader::Hdf5Reader(const Path& path, const std::string& advice)
    : file_(File::open(path)), advice_(advice) {
  const ChecksumFooter footer = check_checksum_footer(file_);
  if (!footer.wrong.empty()) throw damaged("", footer.wrong);
  read_structure(footer.end);
}

InputError Hdf5Reader::damaged(const std::string& name, const std::string& message) const {
  return InputError(fmt::format("{}: {}{}; {}", path().string(),
                                name.empty() ? "" : "data set " + name + ": ", message, advice_));
}

void Hdf5Reader::read_structure(std::uint64_t end) {
  Hdf5DriverFile under{&file_, end, nullptr};
  const Hdf5Lock lock;
  auto attributes_of = [&](hid_t object) {
    Attributes attributes;
    H5O_info_t info;
    check_hdf5(H5Oget_info2(object, &info, H5O_INFO_NUM_ATTRS), path(), under,
               "reading attributes");
    for (hsize_t i = 0; i < info.num_attrs; ++i) {
      const Hdf5Handle attribute(
          H5Aopen_by_idx(object, ".", H5_INDEX_NAME, H5_ITER_INC, i, H5P_DEFAULT, H5P_DEFAULT),
          H5Aclose);
      check_hdf5(attribute.id, path(), under, "reading attributes");
      char name[256] = "";
      check_hdf5(H5Aget_name(attribute, sizeof name, name), path(), under, "reading attributes");
      attributes[name] = read_attribute(attribute, path(), under);
    }
    return attributes;
  };
  try {
    const Hdf5Handle access(make_hdf5_access(&under), H5Pclose);
    const Hdf5Handle hdf5(H5Fopen(path().c_str(), H5F_ACC_RDONLY, access), H5Fclose);
    check_hdf5(hdf5.id, path(), under, "opening the file");
    const Hdf5Handle root(H5Gopen2(hdf5, "/", H5P_DEFAULT), H5Gclose);
    attributes_ = attributes_of(root);
    H5G_info_t info;
    check_hdf5(H5Gget_info(root, &info), path(), under, "listing data sets");
    for (hsize_t i = 0; i < info.nlinks; ++i) {
      char name[1024] = "";
      check_hdf5(H5Lget_name_by_idx(root, ".", H5_INDEX_NAME, H5_ITER_INC, i, name, sizeof name,
                                    H5P_DEFAULT),
                 path(), under, "listing data sets");
      const Hdf5Handle data_set(H5Dopen2(root, name, H5P_DEFAULT), H5Dclose);
      check_hdf5(data_set.id, path(), under, "opening a data set");
      const Hdf5Handle space(H5Dget_space(data_set), H5Sclose);
      const Hdf5Handle stored(H5Dget_type(data_set), H5Tclose);
      const Hdf5Handle creation(H5Dget_create_plist(data_set), H5Pclose);
      std::vector<hsize_t> axes(static_cast<std::size_t>(
          check_hdf5(H5Sget_simple_extent_ndims(space), path(), under, "reading a shape")));
      H5Sget_simple_extent_dims(space, axes.data(), nullptr);
      const std::optional<Hdf5Type> type = type_of(stored);
      DataSet entry;
      entry.shape.assign(axes.begin(), axes.end());
      const std::optional<std::int64_t> count = elements_of(entry.shape);
      if (!type || !count || H5Pget_layout(creation) != H5D_CONTIGUOUS) {
        throw damaged(name, "of a type, shape or layout that Eyrie does not write");
      }
      entry.type = *type;
      entry.count = *count;
      entry.offset = *count == 0 ? 0 : H5Dget_offset(data_set);
      const std::uint64_t bytes = static_cast<std::uint64_t>(*count) * size_of(*type);
      if (entry.offset > end || bytes > end - entry.offset) {
        throw damaged(name, "its data would lie outside of the file");
      }
      entry.attributes = attributes_of(data_set);
      data_sets_.emplace(name, std::move(entry));
    }
  } catch (const InputError&) {
    throw;
  } catch (const Error& error) {
    if (under.error) throw;  // a disk error says nothing about the file
    throw InputError(fmt::format("{}; {}", error.what(), advice_));
  }
}

std::vector<std::string> Hdf5Reader::list() const {
  std::vector<std::string> names;
  for (const auto& [name, entry] : data_sets_) names.push_back(name);
  return names;
}

const Hdf5Reader::DataSet& Hdf5Reader::find(const std::string& name) const {
  const auto found = data_sets_.find(name);
  if (found == data_sets_.end()) throw damaged(name, "is not in the file");
  return found->second;
}

const Hdf5Attribute& Hdf5Reader::find_attribute(const std::string& name,
                                                const std::string& attribute) const {
  const Attributes& attributes = name.empty() ? attributes_ : find(name).attributes;
  const auto found = attributes.find(attribute);
  if (found == attributes.end()) throw damaged(name, "attribute " + attribute + " is missing");
  return found->second;
}

bool Hdf5Reader::has_attribute(const std::string& name, const std::string& attribute) const {
  return (name.empty() ? attributes_ : find(name).attributes).contains(attribute);
}

void Hdf5Reader::check_type(const std::string& name, Hdf5Type type) const {
  const Hdf5Type stored = find(name).type;
  if (stored != type) {
    throw damaged(name, fmt::format("is of {}, not {}", name_of(stored), name_of(type)));
  }
}

std::int64_t Hdf5Reader::row_size(const std::string& name) const {
  const Hdf5Shape& shape = find(name).shape;
  if (shape.empty()) throw damaged(name, "has no rows");
  return *elements_of({shape.begin() + 1, shape.end()});
}

void Hdf5Reader::read(const std::string& name, std::int64_t start, Hdf5Type type,
                      std::span<std::byte> out) const {
  check_type(name, type);
  const DataSet& entry = find(name);
  const auto count = static_cast<std::int64_t>(out.size() / size_of(type));
  EYRIE_CHECK(start >= 0 && count <= entry.count && start <= entry.count - count,
              fmt::format("{}: elements [{}, {}) of the {} of data set {}", path().string(), start,
                          start + count, entry.count, name));
  file_.read_at(out, entry.offset + static_cast<std::uint64_t>(start) * size_of(type));
}

}  // namespace eyrie::base
