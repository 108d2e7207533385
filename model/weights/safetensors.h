// Safetensors files: an 8-byte little-endian header length, a JSON header (name → dtype, shape,
// data_offsets), then the data. The whole header is checked before any data is read: everything
// that the format's own library demands (no holes, no overlaps, no repeated names), and that no
// number overflows.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/file.h"
#include "model/weights/stored_type.h"

namespace eyrie::model {

struct SafetensorsEntry {
  std::string dtype;  // as the file has it: "F32", "BF16", "I64", …
  std::vector<std::int64_t> shape;
  std::int64_t count = 0;                  // of elements
  std::uint64_t begin = 0;                 // of its data, in bytes from the start of the file
  std::optional<StoredType> type() const;  // nullopt: not a type of weights
};

// A file open for reading; only the header is in memory. Throws InputError naming the file, the
// tensor and what is wrong.
class Safetensors {
 public:
  explicit Safetensors(const base::Path& path);
  // Reads from memory, which must outlive the object; `place` stands for the path in messages.
  Safetensors(std::span<const std::byte> bytes, std::string place);

  const std::string& place() const { return place_; }
  const std::map<std::string, SafetensorsEntry>& entries() const { return entries_; }

  // Reads elements [first, first + count) of an existing tensor as fp32. Throws InputError if its
  // dtype is not a type of weights.
  void read(const std::string& name, std::int64_t first, std::int64_t count, float* out) const;

 private:
  void open(std::uint64_t size);
  void read_bytes(std::uint64_t offset, std::span<std::byte> out) const;

  std::string place_;
  std::optional<base::File> file_;  // or memory_
  std::span<const std::byte> memory_;
  std::map<std::string, SafetensorsEntry> entries_;
};

}  // namespace eyrie::model
