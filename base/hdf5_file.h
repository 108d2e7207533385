// HDF5 files as Eyrie writes them: only contiguous data sets in the root group, and attributes. The
// library writes and reads only the structure; data is transferred directly between memory and the
// data set's place in the file, outside the library's global lock.
//
// A checksum footer follows the HDF5 part: a table of where the data lies, and a hash of every byte
// that is not data (docs/formats/checkpoint.md). A reader checks it before the HDF5 library sees
// the file, because that library may crash on a damaged structure. HDF5's own tools ignore the
// footer. It does not cover the data: whoever writes data stores checksums of it.
//
// Equal calls write equal bytes: no times are stored, and the library's version bounds are fixed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <variant>
#include <vector>

#include "base/error.h"
#include "base/file.h"

namespace eyrie::base {

enum class Hdf5Type { kFloat32, kInt32, kInt64, kUint8, kUint16, kUint32, kUint64 };

std::size_t size_of(Hdf5Type type);  // bytes per element
const char* name_of(Hdf5Type type);  // "float32"

template <class T>
constexpr Hdf5Type hdf5_type() {
  if constexpr (std::is_same_v<T, float>)
    return Hdf5Type::kFloat32;
  else if constexpr (std::is_same_v<T, std::int32_t>)
    return Hdf5Type::kInt32;
  else if constexpr (std::is_same_v<T, std::int64_t>)
    return Hdf5Type::kInt64;
  else if constexpr (std::is_same_v<T, std::uint8_t>)
    return Hdf5Type::kUint8;
  else if constexpr (std::is_same_v<T, std::uint16_t>)
    return Hdf5Type::kUint16;
  else if constexpr (std::is_same_v<T, std::uint32_t>)
    return Hdf5Type::kUint32;
  else {
    static_assert(std::is_same_v<T, std::uint64_t>, "not a type of a data set");
    return Hdf5Type::kUint64;
  }
}

using Hdf5Shape = std::vector<std::int64_t>;
using Hdf5Attribute = std::variant<std::string, std::int64_t, double, std::vector<std::int64_t>,
                                   std::vector<std::string>>;

// Writes one file. It appears under its path at commit(); without commit(), nothing is left behind.
// Throws base::Error for disk errors; EYRIE_CHECK catches wrong use. One thread at a time per
// object; several threads may use different objects at once.
class Hdf5Writer {
 public:
  explicit Hdf5Writer(const Path& path);
  Hdf5Writer(Hdf5Writer&&) noexcept;
  Hdf5Writer& operator=(Hdf5Writer&&) = delete;
  ~Hdf5Writer();

  // Creates a data set of this shape (no axes: one value). Names contain no '/'. Its bytes are
  // aligned to 64 in the file.
  void create(const std::string& name, Hdf5Type type, const Hdf5Shape& shape);
  // Writes elements [start, start + count) in row-major order. Each element must be written exactly
  // once before commit().
  void write_slice(const std::string& name, std::int64_t start, Hdf5Type type,
                   std::span<const std::byte> data);

  template <class T>
  void write_slice(const std::string& name, std::int64_t start, std::span<const T> data) {
    write_slice(name, start, hdf5_type<T>(), std::as_bytes(data));
  }
  // create() and write_slice() in one call.
  template <class T>
  void write(const std::string& name, const Hdf5Shape& shape, std::span<const T> data) {
    create(name, hdf5_type<T>(), shape);
    write_slice(name, 0, data);
  }
  template <class T>
  void write(const std::string& name, const std::vector<T>& data) {
    write(name, {static_cast<std::int64_t>(data.size())}, std::span<const T>(data));
  }

  // Sets an attribute of data set `name`, or of the file if `name` is "". At most 60,000 bytes per
  // value.
  void set_attribute(const std::string& name, const std::string& attribute,
                     const Hdf5Attribute& value);

  // Closes, writes the checksum footer, syncs, renames to the path and syncs the folder.
  void commit();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Reads one file. The structure is read when it is opened; everything else is thread-safe.
class Hdf5Reader {
 public:
  // Throws InputError: missing, truncated, damaged, or not written by Hdf5Writer. The message ends
  // with `advice`, what the user can do ("build the shards again").
  Hdf5Reader(const Path& path, const std::string& advice);

  const Path& path() const { return file_.path(); }
  bool has(const std::string& name) const { return data_sets_.contains(name); }
  std::vector<std::string> list() const;  // names of all data sets, sorted
  // All of the following throw InputError for a name that does not exist or has another type.
  Hdf5Type type(const std::string& name) const { return find(name).type; }
  const Hdf5Shape& shape(const std::string& name) const { return find(name).shape; }
  std::int64_t count(const std::string& name) const { return find(name).count; }  // elements
  // Offset of the data in the file, for reading it through a mapping; a multiple of 64.
  std::uint64_t offset(const std::string& name) const { return find(name).offset; }

  // Reads elements [start, start + out.size()) in row-major order.
  void read(const std::string& name, std::int64_t start, Hdf5Type type,
            std::span<std::byte> out) const;
  template <class T>
  void read(const std::string& name, std::int64_t start, std::span<T> out) const {
    read(name, start, hdf5_type<T>(), std::as_writable_bytes(out));
  }
  template <class T>
  std::vector<T> read(const std::string& name) const {
    check_type(name, hdf5_type<T>());
    std::vector<T> out(static_cast<std::size_t>(count(name)));
    read(name, 0, std::span<T>(out));
    return out;
  }
  // Reads rows [first, first + rows) along the first axis.
  template <class T>
  std::vector<T> read_rows(const std::string& name, std::int64_t first, std::int64_t rows) const {
    check_type(name, hdf5_type<T>());
    const std::int64_t width = row_size(name);
    std::vector<T> out(static_cast<std::size_t>(rows * width));
    read(name, first * width, std::span<T>(out));
    return out;
  }

  // Of data set `name`, or of the file if `name` is "".
  bool has_attribute(const std::string& name, const std::string& attribute) const;
  // T is one of Hdf5Attribute's types. Throws InputError if the attribute is absent or of another
  // type.
  template <class T>
  const T& attribute(const std::string& name, const std::string& attribute) const {
    const T* value = std::get_if<T>(&find_attribute(name, attribute));
    if (value == nullptr) throw damaged(name, "attribute " + attribute + " has another type");
    return *value;
  }

  // Returns an error to be thrown: "PATH: data set NAME: MESSAGE; ADVICE".
  InputError damaged(const std::string& name, const std::string& message) const;

 private:
  using Attributes = std::map<std::string, Hdf5Attribute>;
  struct DataSet {
    Hdf5Type type;
    Hdf5Shape shape;
    std::int64_t count;
    std::uint64_t offset;
    Attributes attributes;
  };

  const DataSet& find(const std::string& name) const;
  const Hdf5Attribute& find_attribute(const std::string& name, const std::string& attribute) const;
  void check_type(const std::string& name, Hdf5Type type) const;
  std::int64_t row_size(const std::string& name) const;
  void read_structure(std::uint64_t end);

  File file_;
  std::string advice_;
  std::map<std::string, DataSet> data_sets_;
  Attributes attributes_;  // of the file
};

}  // namespace eyrie::base
