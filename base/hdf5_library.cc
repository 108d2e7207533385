// The HDF5 library's lock, handles, errors, types and attributes.
#include "base/hdf5_library.h"

#include <hdf5.h>

#include <algorithm>
#include <limits>
#include <type_traits>
#include <vector>

#include <fmt/format.h>

namespace eyrie::base {
namespace {

static_assert(std::is_same_v<hid_t, std::int64_t> && std::is_same_v<herr_t, int>);

std::mutex& library_mutex() {
  static std::mutex instance;
  return instance;
}

// The error message of the innermost function that failed.
std::string hdf5_message() {
  std::string message = "no message";
  H5Ewalk2(
      H5E_DEFAULT, H5E_WALK_UPWARD,
      [](unsigned depth, const H5E_error2_t* error, void* out) -> herr_t {
        if (depth == 0 && error->desc != nullptr) *static_cast<std::string*>(out) = error->desc;
        return 0;
      },
      &message);
  return message;
}

struct TypeRow {
  Hdf5Type type;
  const char* name;
  std::size_t size;
};
constexpr TypeRow kTypes[] = {
    {Hdf5Type::kFloat32, "float32", 4}, {Hdf5Type::kInt32, "int32", 4},
    {Hdf5Type::kInt64, "int64", 8},     {Hdf5Type::kUint8, "uint8", 1},
    {Hdf5Type::kUint16, "uint16", 2},   {Hdf5Type::kUint32, "uint32", 4},
    {Hdf5Type::kUint64, "uint64", 8},
};

const TypeRow& row_of(Hdf5Type type) { return kTypes[static_cast<std::size_t>(type)]; }

constexpr std::size_t kMostAttributeBytes = 60'000;  // HDF5's own limit is 64Ki with its header

}  // namespace

std::size_t size_of(Hdf5Type type) { return row_of(type).size; }
const char* name_of(Hdf5Type type) { return row_of(type).name; }

Hdf5Lock::Hdf5Lock() : lock_(library_mutex()) { H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr); }

void throw_hdf5_error(const Path& path, const Hdf5DriverFile& under, const char* doing) {
  if (under.error) std::rethrow_exception(under.error);
  throw Error(fmt::format("{}: {} failed in HDF5: {}", path.string(), doing, hdf5_message()));
}

std::int64_t stored_type(Hdf5Type type) {
  switch (type) {
    case Hdf5Type::kFloat32:
      return H5T_IEEE_F32LE;
    case Hdf5Type::kInt32:
      return H5T_STD_I32LE;
    case Hdf5Type::kInt64:
      return H5T_STD_I64LE;
    case Hdf5Type::kUint8:
      return H5T_STD_U8LE;
    case Hdf5Type::kUint16:
      return H5T_STD_U16LE;
    case Hdf5Type::kUint32:
      return H5T_STD_U32LE;
    case Hdf5Type::kUint64:
      return H5T_STD_U64LE;
  }
  return -1;
}

std::optional<Hdf5Type> type_of(std::int64_t stored) {
  for (const TypeRow& row : kTypes) {
    if (H5Tequal(stored, stored_type(row.type)) > 0) return row.type;
  }
  return std::nullopt;
}

std::optional<std::int64_t> elements_of(const Hdf5Shape& shape) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max() / 8;
  std::int64_t count = 1;
  for (const std::int64_t axis : shape) {
    if (axis < 0 || (axis > 0 && count > kMost / axis)) return std::nullopt;
    count *= axis;
  }
  return count;
}

void write_attribute(std::int64_t object, const std::string& name, const Hdf5Attribute& value,
                     const Path& path, const Hdf5DriverFile& under) {
  auto write = [&](hid_t type, std::optional<hsize_t> length, const void* data, std::size_t bytes) {
    if (bytes > kMostAttributeBytes) {
      throw Error(fmt::format("{}: attribute {} has {} bytes; at most {} fit", path.string(), name,
                              bytes, kMostAttributeBytes));
    }
    const Hdf5Handle space(length ? H5Screate_simple(1, &*length, nullptr) : H5Screate(H5S_SCALAR),
                           H5Sclose);
    const Hdf5Handle attribute(
        H5Acreate2(object, name.c_str(), type, space, H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
    check_hdf5(attribute.id, path, under, "making an attribute");
    if (bytes > 0) check_hdf5(H5Awrite(attribute, type, data), path, under, "writing an attribute");
  };
  auto write_texts = [&](const std::vector<std::string>& texts, std::optional<hsize_t> length) {
    std::size_t width = 1;
    for (const std::string& text : texts) width = std::max(width, text.size());
    std::string all;
    for (const std::string& text : texts) all += text + std::string(width - text.size(), '\0');
    const Hdf5Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
    H5Tset_size(type, width);
    H5Tset_strpad(type, H5T_STR_NULLPAD);
    H5Tset_cset(type, H5T_CSET_UTF8);
    write(type, length, all.data(), all.size());
  };
  if (const auto* text = std::get_if<std::string>(&value)) {
    write_texts({*text}, std::nullopt);
  } else if (const auto* integer = std::get_if<std::int64_t>(&value)) {
    write(H5T_STD_I64LE, std::nullopt, integer, sizeof *integer);
  } else if (const auto* number = std::get_if<double>(&value)) {
    write(H5T_IEEE_F64LE, std::nullopt, number, sizeof *number);
  } else if (const auto* integers = std::get_if<std::vector<std::int64_t>>(&value)) {
    write(H5T_STD_I64LE, integers->size(), integers->data(), integers->size() * 8);
  } else {
    const auto& texts = std::get<std::vector<std::string>>(value);
    write_texts(texts, texts.size());
  }
}

Hdf5Attribute read_attribute(std::int64_t attribute, const Path& path,
                             const Hdf5DriverFile& under) {
  const Hdf5Handle space(H5Aget_space(attribute), H5Sclose);
  const Hdf5Handle type(H5Aget_type(attribute), H5Tclose);
  const bool one = H5Sget_simple_extent_type(space) == H5S_SCALAR;
  const auto count = static_cast<std::size_t>(
      check_hdf5(H5Sget_simple_extent_npoints(space), path, under, "reading an attribute"));
  auto read = [&](void* out) {
    if (count > 0) check_hdf5(H5Aread(attribute, type, out), path, under, "reading an attribute");
  };
  if (H5Tget_class(type) == H5T_STRING && H5Tis_variable_str(type) == 0) {
    const std::size_t width = H5Tget_size(type);
    std::string all(count * width, '\0');
    read(all.data());
    std::vector<std::string> texts;
    for (std::size_t i = 0; i < count; ++i) {
      texts.push_back(all.substr(i * width, width));
      texts.back().resize(texts.back().find_last_not_of('\0') + 1);
    }
    if (one) return texts.at(0);
    return texts;
  }
  if (H5Tequal(type, H5T_STD_I64LE) > 0) {
    std::vector<std::int64_t> integers(count);
    read(integers.data());
    if (one) return integers.at(0);
    return integers;
  }
  double number = 0;
  if (H5Tequal(type, H5T_IEEE_F64LE) <= 0 || count != 1) {
    throw Error(path.string() + ": an attribute of an unknown type");
  }
  read(&number);
  return number;
}

}  // namespace eyrie::base
