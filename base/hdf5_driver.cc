// The virtual file driver: the callbacks that HDF5 1.10 requires, over base::File.
#include "base/hdf5_driver.h"

#include <hdf5.h>

#include <algorithm>
#include <cstring>

namespace eyrie::base {
namespace {

// HDF5 sees only the first member.
struct Driver {
  H5FD_t head{};
  Hdf5DriverFile* file = nullptr;
  haddr_t allocated = 0;
};

Driver& driver_of(H5FD_t* file) { return *reinterpret_cast<Driver*>(file); }
const Driver& driver_of(const H5FD_t* file) { return *reinterpret_cast<const Driver*>(file); }

// HDF5 copies this into its property list.
struct Info {
  Hdf5DriverFile* file;
};

H5FD_t* open_file(const char*, unsigned, hid_t access, haddr_t) {
  const auto* info = static_cast<const Info*>(H5Pget_driver_info(access));
  if (info == nullptr) return nullptr;
  auto* driver = new Driver;
  driver->file = info->file;
  return &driver->head;
}

herr_t close_file(H5FD_t* file) {
  delete &driver_of(file);
  return 0;
}

int compare(const H5FD_t* a, const H5FD_t* b) {
  const Hdf5DriverFile* x = driver_of(a).file;
  const Hdf5DriverFile* y = driver_of(b).file;
  return x < y ? -1 : x > y ? 1 : 0;
}

herr_t query(const H5FD_t*, unsigned long* flags) {
  *flags = H5FD_FEAT_AGGREGATE_METADATA | H5FD_FEAT_ACCUMULATE_METADATA;
  return 0;
}

haddr_t get_allocated(const H5FD_t* file, H5FD_mem_t) { return driver_of(file).allocated; }

herr_t set_allocated(H5FD_t* file, H5FD_mem_t, haddr_t address) {
  driver_of(file).allocated = address;
  return 0;
}

haddr_t get_end(const H5FD_t* file, H5FD_mem_t) { return driver_of(file).file->end; }

herr_t read(H5FD_t* file, H5FD_mem_t, hid_t, haddr_t address, size_t size, void* buffer) {
  Hdf5DriverFile& under = *driver_of(file).file;
  // Bytes beyond the end read as zeros, as in HDF5's own drivers.
  const std::uint64_t end = under.end;
  const std::uint64_t there = address >= end ? 0 : std::min<std::uint64_t>(size, end - address);
  std::memset(static_cast<char*>(buffer) + there, 0, size - there);
  try {
    under.file->read_at({static_cast<std::byte*>(buffer), there}, address);
    return 0;
  } catch (...) {
    if (!under.error) under.error = std::current_exception();
    return -1;
  }
}

herr_t write(H5FD_t* file, H5FD_mem_t, hid_t, haddr_t address, size_t size, const void* buffer) {
  Hdf5DriverFile& under = *driver_of(file).file;
  under.end = std::max<std::uint64_t>(under.end, address + size);
  if (under.error) return 0;
  try {
    under.file->write_at({static_cast<const std::byte*>(buffer), size}, address);
  } catch (...) {
    under.error = std::current_exception();
  }
  return 0;
}

// On close HDF5 makes the file as long as what it has allocated.
herr_t truncate(H5FD_t* file, hid_t, hbool_t) {
  Driver& driver = driver_of(file);
  Hdf5DriverFile& under = *driver.file;
  if (driver.allocated == under.end || under.error) return 0;
  try {
    under.file->truncate(driver.allocated);
    under.end = driver.allocated;
  } catch (...) {
    under.error = std::current_exception();
  }
  return 0;
}

const H5FD_class_t& driver_class() {
  static const H5FD_class_t instance = [] {
    H5FD_class_t c{};
    c.name = "eyrie";
    c.maxaddr = (haddr_t{1} << 62) - 1;
    c.fc_degree = H5F_CLOSE_STRONG;
    c.fapl_size = sizeof(Info);
    c.open = open_file;
    c.close = close_file;
    c.cmp = compare;
    c.query = query;
    c.get_eoa = get_allocated;
    c.set_eoa = set_allocated;
    c.get_eof = get_end;
    c.read = read;
    c.write = write;
    c.truncate = truncate;
    const H5FD_mem_t map[] = H5FD_FLMAP_DICHOTOMY;
    std::memcpy(c.fl_map, map, sizeof map);
    return c;
  }();
  return instance;
}

}  // namespace

std::int64_t make_hdf5_access(Hdf5DriverFile* file) {
  static const hid_t driver = H5FDregister(&driver_class());
  const hid_t access = H5Pcreate(H5P_FILE_ACCESS);
  const Info info{file};
  if (driver < 0 || access < 0 || H5Pset_driver(access, driver, &info) < 0 ||
      H5Pset_libver_bounds(access, H5F_LIBVER_EARLIEST, H5F_LIBVER_V110) < 0 ||
      H5Pset_file_locking(access, false, true) < 0 || H5Pset_alignment(access, 1, 64) < 0) {
    H5Pclose(access);
    return -1;
  }
  return access;
}

}  // namespace eyrie::base
