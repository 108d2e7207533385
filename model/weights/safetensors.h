// Safetensors files: an 8-byte little-endian header length, a JSON header (name → dtype, shape,
// data_offsets), then the data. Everything in the header is checked before anything is read by it:
// what the format's own library demands (no holes, no overlaps, no repeated names) and that no
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
  std::optional<StoredType> type() const;  // nothing: a type that weights do not have
};

// A file open for reading. Memory holds the header only. InputError names the file, the tensor and
// what is wrong.
class Safetensors {
 public:
  explicit Safetensors(const base::Path& path);
  // From memory, which must outlive the object; `place` stands for the path in messages.
  Safetensors(std::span<const std::byte> bytes, std::string place);

  const std::string& place() const { return place_; }
  const std::map<std::string, SafetensorsEntry>& entries() const { return entries_; }

  // Elements [first, first + count) of a tensor that is there, as fp32. InputError where its dtype
  // is none of weights.
  void read(const std::string& name, std::int64_t first, std::int64_t count, float* out) const;

 private:
  void open(std::uint64_t size);
  void read_bytes(std::uint64_t offset, std::span<std::byte> out) const;

  std::string place_;
  std::optional<base::File> file_;  // or
  std::span<const std::byte> memory_;
  std::map<std::string, SafetensorsEntry> entries_;
};

}  // namespace eyrie::model
