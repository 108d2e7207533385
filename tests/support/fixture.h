// Reads the reference tensors of tests/fixtures/griffin (or of another folder of that layout,
// EYRIE_FIXTURES).
#pragma once

#include <hdf5.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

namespace eyrie::test {

inline std::filesystem::path fixtures() {
  const char* other = std::getenv("EYRIE_FIXTURES");
  return other != nullptr ? other
                          : std::filesystem::path(EYRIE_SOURCE_DIR) / "tests/fixtures/griffin";
}

class Fixture {
 public:
  explicit Fixture(const std::filesystem::path& path)
      : file_(H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT)) {
    if (file_ < 0) throw std::runtime_error("fixture not found: " + path.string());
  }
  ~Fixture() { H5Fclose(file_); }
  Fixture(const Fixture&) = delete;

  bool has(const std::string& name) const {
    for (std::size_t slash = name.find('/', 1); slash != std::string::npos;
         slash = name.find('/', slash + 1)) {
      if (H5Lexists(file_, name.substr(0, slash).c_str(), H5P_DEFAULT) <= 0) return false;
    }
    return H5Lexists(file_, name.c_str(), H5P_DEFAULT) > 0;
  }

  std::vector<std::int64_t> shape(const std::string& name) const {
    const hid_t set = open(name), space = H5Dget_space(set);
    std::vector<hsize_t> sizes(static_cast<std::size_t>(H5Sget_simple_extent_ndims(space)));
    H5Sget_simple_extent_dims(space, sizes.data(), nullptr);
    H5Sclose(space);
    H5Dclose(set);
    return {sizes.begin(), sizes.end()};
  }

  std::vector<float> floats(const std::string& name) const {
    return read<float>(name, H5T_NATIVE_FLOAT);
  }
  std::vector<std::int32_t> ints(const std::string& name) const {
    return read<std::int32_t>(name, H5T_NATIVE_INT32);
  }

  double number(const std::string& attribute, const std::string& group = "/") const {
    const hid_t at =
        H5Aopen_by_name(file_, group.c_str(), attribute.c_str(), H5P_DEFAULT, H5P_DEFAULT);
    double value = 0;
    if (at < 0 || H5Aread(at, H5T_NATIVE_DOUBLE, &value) < 0)
      throw std::runtime_error("no attribute " + attribute);
    H5Aclose(at);
    return value;
  }

  std::string text(const std::string& attribute) const {
    const hid_t at = H5Aopen(file_, attribute.c_str(), H5P_DEFAULT);
    if (at < 0) throw std::runtime_error("no attribute " + attribute);
    const hid_t type = H5Aget_type(at);
    std::string value(H5Tget_size(type), '\0');
    H5Aread(at, type, value.data());
    H5Tclose(type);
    H5Aclose(at);
    return value.substr(0, value.find('\0'));
  }

 private:
  hid_t open(const std::string& name) const {
    const hid_t set = H5Dopen2(file_, name.c_str(), H5P_DEFAULT);
    if (set < 0) throw std::runtime_error("no data set " + name);
    return set;
  }
  template <class T>
  std::vector<T> read(const std::string& name, hid_t type) const {
    std::size_t count = 1;
    for (const std::int64_t size : shape(name)) count *= static_cast<std::size_t>(size);
    std::vector<T> values(count);
    const hid_t set = open(name);
    if (H5Dread(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()) < 0)
      throw std::runtime_error("cannot read " + name);
    H5Dclose(set);
    return values;
  }
  hid_t file_;
};

}  // namespace eyrie::test
