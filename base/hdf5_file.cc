// HDF5 files: structure through the HDF5 library under one lock, data straight to its place, a seal
// behind.
#include "base/hdf5_file.h"

#include <hdf5.h>

#include <algorithm>
#include <limits>
#include <mutex>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "base/hash.h"
#include "base/hdf5_driver.h"

namespace eyrie::base {
namespace {

// The library's calls are not for several threads at once; its messages are for ours, not for
// stderr.
class Hdf5Lock {
 public:
  Hdf5Lock() : lock_(mutex()) { H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr); }

 private:
  static std::mutex& mutex() {
    static std::mutex instance;
    return instance;
  }
  std::lock_guard<std::mutex> lock_;
};

struct Handle {
  hid_t id;
  herr_t (*close)(hid_t);
  Handle(hid_t id, herr_t (*close)(hid_t)) : id(id), close(close) {}
  Handle(const Handle&) = delete;
  ~Handle() {
    if (id >= 0) close(id);
  }
  operator hid_t() const { return id; }
};

// The message of the innermost function that failed.
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

// Throws what a call of the library failed with: the disk's error where there was one.
template <class Result>
Result check(Result result, const Path& path, const Hdf5DriverFile& under, const char* doing) {
  if (under.error) std::rethrow_exception(under.error);
  if (result < 0) {
    throw Error(fmt::format("{}: {} failed in HDF5: {}", path.string(), doing, hdf5_message()));
  }
  return result;
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

hid_t stored_type(Hdf5Type type) {
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

// The product of the axes, or nothing where it is negative or too large for bytes in 63 bits.
std::optional<std::int64_t> elements_of(const Hdf5Shape& shape) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max() / 8;
  std::int64_t count = 1;
  for (const std::int64_t axis : shape) {
    if (axis < 0 || (axis > 0 && count > kMost / axis)) return std::nullopt;
    count *= axis;
  }
  return count;
}

// Where data lies: [offset, offset + bytes).
struct Extent {
  std::uint64_t offset;
  std::uint64_t bytes;
};

// Ends the file: after the table of extents.
struct SealEnd {
  std::uint64_t extents;
  std::uint64_t hdf5_bytes;  // before the seal
  std::uint64_t hash;        // of all that is not data: structure, then table, extents, hdf5_bytes
  char magic[8];
};
constexpr char kMagic[9] = "EYRSEAL1";

std::uint64_t seal_hash(const File& file, const std::vector<Extent>& extents, std::uint64_t end) {
  Hasher hasher;
  std::vector<std::byte> buffer;
  auto add = [&](std::uint64_t from, std::uint64_t to) {
    while (from < to) {
      buffer.resize(std::min<std::uint64_t>(to - from, 1 << 20));
      file.read_at(buffer, from);
      hasher.add(buffer);
      from += buffer.size();
    }
  };
  std::uint64_t at = 0;
  for (const Extent& extent : extents) {
    add(at, extent.offset);
    at = extent.offset + extent.bytes;
  }
  add(at, end);
  hasher.add(std::as_bytes(std::span(extents)));
  const std::uint64_t numbers[] = {extents.size(), end};
  hasher.add(std::as_bytes(std::span(numbers)));
  return hasher.value();
}

constexpr std::size_t kMostAttributeBytes = 60'000;  // HDF5's own limit is 64Ki with its header

void write_attribute(hid_t object, const std::string& name, const Hdf5Attribute& value,
                     const Path& path, const Hdf5DriverFile& under) {
  auto write = [&](hid_t type, std::optional<hsize_t> length, const void* data, std::size_t bytes) {
    if (bytes > kMostAttributeBytes) {
      throw Error(fmt::format("{}: attribute {} has {} bytes; at most {} fit", path.string(), name,
                              bytes, kMostAttributeBytes));
    }
    const Handle space(length ? H5Screate_simple(1, &*length, nullptr) : H5Screate(H5S_SCALAR),
                       H5Sclose);
    const Handle attribute(H5Acreate2(object, name.c_str(), type, space, H5P_DEFAULT, H5P_DEFAULT),
                           H5Aclose);
    check(attribute.id, path, under, "making an attribute");
    if (bytes > 0) check(H5Awrite(attribute, type, data), path, under, "writing an attribute");
  };
  auto write_texts = [&](const std::vector<std::string>& texts, std::optional<hsize_t> length) {
    std::size_t width = 1;
    for (const std::string& text : texts) width = std::max(width, text.size());
    std::string all;
    for (const std::string& text : texts) all += text + std::string(width - text.size(), '\0');
    const Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
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

Hdf5Attribute read_attribute(hid_t attribute, const Path& path, const Hdf5DriverFile& under) {
  const Handle space(H5Aget_space(attribute), H5Sclose);
  const Handle type(H5Aget_type(attribute), H5Tclose);
  const bool one = H5Sget_simple_extent_type(space) == H5S_SCALAR;
  const auto count = static_cast<std::size_t>(
      check(H5Sget_simple_extent_npoints(space), path, under, "reading an attribute"));
  auto read = [&](void* out) {
    if (count > 0) check(H5Aread(attribute, type, out), path, under, "reading an attribute");
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

}  // namespace

std::size_t size_of(Hdf5Type type) { return row_of(type).size; }
const char* name_of(Hdf5Type type) { return row_of(type).name; }

// ------------------------------------------------------------------------------------------------
// Writing

struct Hdf5Writer::State {
  struct Slot {
    Hdf5Type type;
    std::int64_t count;
    std::int64_t written;
    std::uint64_t offset;
  };

  Path path;
  Path temporary;
  File file;
  Hdf5DriverFile under;
  hid_t hdf5 = -1;
  std::map<std::string, Slot> slots;
  bool committed = false;

  explicit State(const Path& path)
      : path(path), temporary(temporary_name(path)), file(File::create(temporary)) {}

  ~State() {
    close();
    std::error_code ignored;
    if (!committed) std::filesystem::remove(temporary, ignored);
  }

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
  const Handle access(make_hdf5_access(&s.under), H5Pclose);
  const Handle creation(H5Pcreate(H5P_FILE_CREATE), H5Pclose);
  check(H5Pset_obj_track_times(creation, false), path, s.under, "setting up");
  s.hdf5 = check(H5Fcreate(s.temporary.c_str(), H5F_ACC_TRUNC, creation, access), path, s.under,
                 "creating the file");
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
  const Handle space(shape.empty()
                         ? H5Screate(H5S_SCALAR)
                         : H5Screate_simple(static_cast<int>(axes.size()), axes.data(), nullptr),
                     H5Sclose);
  const Handle creation(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
  H5Pset_obj_track_times(creation, false);
  H5Pset_layout(creation, H5D_CONTIGUOUS);
  H5Pset_alloc_time(creation, H5D_ALLOC_TIME_EARLY);  // so that the place is known at once
  H5Pset_fill_time(creation, H5D_FILL_TIME_NEVER);
  const Handle data_set(H5Dcreate2(s.hdf5, name.c_str(), stored_type(type), space, H5P_DEFAULT,
                                   creation, H5P_DEFAULT),
                        H5Dclose);
  check(data_set.id, s.path, s.under, "making a data set");
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
  const Handle object(H5Oopen(s.hdf5, name.empty() ? "/" : name.c_str(), H5P_DEFAULT), H5Oclose);
  check(object.id, s.path, s.under, "opening a data set");
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
  const std::uint64_t end = s.under.end;
  SealEnd seal{extents.size(), end, seal_hash(s.file, extents, end), {}};
  std::copy_n(kMagic, sizeof seal.magic, seal.magic);
  std::string text(reinterpret_cast<const char*>(extents.data()), extents.size() * sizeof(Extent));
  text.append(reinterpret_cast<const char*>(&seal), sizeof seal);
  s.file.write_at(std::as_bytes(std::span(text)), end);
  s.file.sync();
  s.file.close();
  rename_file(s.temporary, s.path);
  s.committed = true;
}

// ------------------------------------------------------------------------------------------------
// Reading

Hdf5Reader::Hdf5Reader(const Path& path, const std::string& advice)
    : file_(File::open(path)), advice_(advice) {
  read_structure(check_seal());
}

InputError Hdf5Reader::damaged(const std::string& name, const std::string& message) const {
  return InputError(fmt::format("{}: {}{}; {}", path().string(),
                                name.empty() ? "" : "data set " + name + ": ", message, advice_));
}

// Returns where the HDF5 file ends and the seal begins.
std::uint64_t Hdf5Reader::check_seal() const {
  const std::uint64_t size = file_.size();
  SealEnd seal{};
  if (size >= sizeof seal) {
    file_.read_at(std::as_writable_bytes(std::span(&seal, 1)), size - sizeof seal);
  }
  if (!std::equal(seal.magic, seal.magic + sizeof seal.magic, kMagic)) {
    throw damaged("", fmt::format("the file is cut off, damaged, or not one of Eyrie's ({} bytes, "
                                  "without the seal at the end)",
                                  size));
  }
  if (seal.hdf5_bytes > size || seal.extents > size / sizeof(Extent) ||
      seal.hdf5_bytes + seal.extents * sizeof(Extent) + sizeof seal != size) {
    throw damaged("", "the file is damaged (its seal does not fit its size)");
  }
  std::vector<Extent> extents(seal.extents);
  file_.read_at(std::as_writable_bytes(std::span(extents)), seal.hdf5_bytes);
  std::uint64_t at = 0;
  bool sound = true;
  for (const Extent& extent : extents) {
    sound = sound && extent.offset >= at && extent.offset <= seal.hdf5_bytes &&
            extent.bytes <= seal.hdf5_bytes - extent.offset;
    at = extent.offset + extent.bytes;
  }
  if (!sound || seal_hash(file_, extents, seal.hdf5_bytes) != seal.hash) {
    throw damaged("", "the file is damaged (its structure does not match its seal)");
  }
  return seal.hdf5_bytes;
}

void Hdf5Reader::read_structure(std::uint64_t end) {
  Hdf5DriverFile under{&file_, end, nullptr};
  const Hdf5Lock lock;
  auto attributes_of = [&](hid_t object) {
    Attributes attributes;
    H5O_info_t info;
    check(H5Oget_info2(object, &info, H5O_INFO_NUM_ATTRS), path(), under, "reading attributes");
    for (hsize_t i = 0; i < info.num_attrs; ++i) {
      const Handle attribute(
          H5Aopen_by_idx(object, ".", H5_INDEX_NAME, H5_ITER_INC, i, H5P_DEFAULT, H5P_DEFAULT),
          H5Aclose);
      check(attribute.id, path(), under, "reading attributes");
      char name[256] = "";
      check(H5Aget_name(attribute, sizeof name, name), path(), under, "reading attributes");
      attributes[name] = read_attribute(attribute, path(), under);
    }
    return attributes;
  };
  try {
    const Handle access(make_hdf5_access(&under), H5Pclose);
    const Handle hdf5(H5Fopen(path().c_str(), H5F_ACC_RDONLY, access), H5Fclose);
    check(hdf5.id, path(), under, "opening the file");
    const Handle root(H5Gopen2(hdf5, "/", H5P_DEFAULT), H5Gclose);
    attributes_ = attributes_of(root);
    H5G_info_t info;
    check(H5Gget_info(root, &info), path(), under, "listing data sets");
    for (hsize_t i = 0; i < info.nlinks; ++i) {
      char name[1024] = "";
      check(H5Lget_name_by_idx(root, ".", H5_INDEX_NAME, H5_ITER_INC, i, name, sizeof name,
                               H5P_DEFAULT),
            path(), under, "listing data sets");
      const Handle data_set(H5Dopen2(root, name, H5P_DEFAULT), H5Dclose);
      check(data_set.id, path(), under, "opening a data set");
      const Handle space(H5Dget_space(data_set), H5Sclose);
      const Handle stored(H5Dget_type(data_set), H5Tclose);
      const Handle creation(H5Dget_create_plist(data_set), H5Pclose);
      std::vector<hsize_t> axes(static_cast<std::size_t>(
          check(H5Sget_simple_extent_ndims(space), path(), under, "reading a shape")));
      H5Sget_simple_extent_dims(space, axes.data(), nullptr);
      const TypeRow* type = std::find_if(std::begin(kTypes), std::end(kTypes), [&](auto& row) {
        return H5Tequal(stored, stored_type(row.type)) > 0;
      });
      DataSet entry;
      entry.shape.assign(axes.begin(), axes.end());
      const std::optional<std::int64_t> count = elements_of(entry.shape);
      if (type == std::end(kTypes) || !count || H5Pget_layout(creation) != H5D_CONTIGUOUS) {
        throw damaged(name, "of a type, shape or layout that Eyrie does not write");
      }
      entry.type = type->type;
      entry.count = *count;
      entry.offset = *count == 0 ? 0 : H5Dget_offset(data_set);
      const std::uint64_t bytes = static_cast<std::uint64_t>(*count) * type->size;
      if (entry.offset > end || bytes > end - entry.offset) {
        throw damaged(name, "its data would lie outside of the file");
      }
      entry.attributes = attributes_of(data_set);
      data_sets_.emplace(name, std::move(entry));
    }
  } catch (const InputError&) {
    throw;
  } catch (const Error& error) {
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
