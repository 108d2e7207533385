// Writes HDF5 files: structure through the library under its lock, data directly to its place, and
// at the end the checksum footer.
#include <hdf5.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "base/checksum_footer.h"
#include "base/hdf5_driver.h"
#include "base/hdf5_file.h"
#include "base/hdf5_library.h"
#include "base/new_file.h"

namespace eyrie::base {

struct Hdf5Writer::State {
  struct Slot {
    Hdf5Type type;
    std::int64_t count;
    std::int64_t written;
    std::uint64_t offset;
  };

  Path path;
  NewFile made;
  File& file;
  Hdf5DriverFile under;
  hid_t hdf5 = -1;
  std::map<std::string, Slot> slots;

  explicit State(const Path& path) : path(path), made(path), file(made.file()) {}
  ~State() { close(); }

  void close() {
    if (hdf5 < 0) return;
    const Hdf5Lock lock;
    H5Fclose(std::exchange(hdf5, -1));
  }
};

Hdf5Writer::Hdf5Writer(const Path& path) : state_(std::make_unique<State>(path)) {
  State& s = *state_;
  s.under.file = &s.file;
  const Hdf5Lock lock;
  const Hdf5Handle access(make_hdf5_access(&s.under), H5Pclose);
  const Hdf5Handle creation(H5Pcreate(H5P_FILE_CREATE), H5Pclose);
  check_hdf5(H5Pset_obj_track_times(creation, false), path, s.under, "setting up");
  s.hdf5 = check_hdf5(H5Fcreate(s.file.path().c_str(), H5F_ACC_TRUNC, creation, access), path,
                      s.under, "creating the file");
}

Hdf5Writer::Hdf5Writer(Hdf5Writer&&) noexcept = default;
Hdf5Writer::~Hdf5Writer() = default;

void Hdf5Writer::create(const std::string& name, Hdf5Type type, const Hdf5Shape& shape) {
  State& s = *state_;
  const std::optional<std::int64_t> count = elements_of(shape);
  EYRIE_CHECK(count, "an impossible shape of " + name);
  EYRIE_CHECK(!name.empty() && name.find('/') == std::string::npos && !s.slots.contains(name),
              "a data set's name is empty, has a slash, or is there already: " + name);
  const Hdf5Lock lock;
  const std::vector<hsize_t> axes(shape.begin(), shape.end());
  const Hdf5Handle space(
      shape.empty() ? H5Screate(H5S_SCALAR)
                    : H5Screate_simple(static_cast<int>(axes.size()), axes.data(), nullptr),
      H5Sclose);
  const Hdf5Handle creation(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
  H5Pset_obj_track_times(creation, false);
  H5Pset_layout(creation, H5D_CONTIGUOUS);
  H5Pset_alloc_time(creation, H5D_ALLOC_TIME_EARLY);  // so that the offset is known at once
  H5Pset_fill_time(creation, H5D_FILL_TIME_NEVER);
  const Hdf5Handle data_set(H5Dcreate2(s.hdf5, name.c_str(), stored_type(type), space, H5P_DEFAULT,
                                       creation, H5P_DEFAULT),
                            H5Dclose);
  check_hdf5(data_set.id, s.path, s.under, "making a data set");
  const haddr_t offset = *count == 0 ? 0 : H5Dget_offset(data_set);
  EYRIE_CHECK(offset != HADDR_UNDEF && offset % 64 == 0, "HDF5 gave no aligned place to " + name);
  s.slots[name] = {type, *count, 0, offset};
}

void Hdf5Writer::write_slice(const std::string& name, std::int64_t start, Hdf5Type type,
                             std::span<const std::byte> data) {
  State& s = *state_;
  const auto found = s.slots.find(name);
  EYRIE_CHECK(found != s.slots.end() && found->second.type == type,
              "not a data set of this type: " + name);
  State::Slot& slot = found->second;
  const auto count = static_cast<std::int64_t>(data.size() / size_of(type));
  EYRIE_CHECK(start >= 0 && count <= slot.count - slot.written && start <= slot.count - count,
              "a slice outside of " + name);
  if (count == 0) return;
  const std::uint64_t offset = slot.offset + static_cast<std::uint64_t>(start) * size_of(type);
  s.file.write_at(data, offset);
  s.under.end = std::max(s.under.end, offset + data.size());
  slot.written += count;
}

void Hdf5Writer::set_attribute(const std::string& name, const std::string& attribute,
                               const Hdf5Attribute& value) {
  State& s = *state_;
  EYRIE_CHECK(name.empty() || s.slots.contains(name), "no data set " + name);
  const Hdf5Lock lock;
  const Hdf5Handle object(H5Oopen(s.hdf5, name.empty() ? "/" : name.c_str(), H5P_DEFAULT),
                          H5Oclose);
  check_hdf5(object.id, s.path, s.under, "opening a data set");
  write_attribute(object, attribute, value, s.path, s.under);
}

void Hdf5Writer::commit() {
  State& s = *state_;
  std::vector<Extent> extents;
  for (const auto& [name, slot] : s.slots) {
    EYRIE_CHECK(slot.written == slot.count, "not all of " + name + " was written");
    if (slot.count > 0) {
      extents.push_back({slot.offset, static_cast<std::uint64_t>(slot.count) * size_of(slot.type)});
    }
  }
  std::sort(extents.begin(), extents.end(),
            [](const Extent& a, const Extent& b) { return a.offset < b.offset; });
  s.close();
  if (s.under.error) std::rethrow_exception(s.under.error);
  write_checksum_footer(s.file, extents, s.under.end);
  s.made.commit();
}

}  // namespace eyrie::base
