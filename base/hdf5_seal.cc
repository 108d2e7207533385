// The seal: made from the file as it lies on disk, compared before the HDF5 library sees the file.
#include "base/hdf5_seal.h"

#include <algorithm>
#include <span>

#include <fmt/format.h>

#include "base/hash.h"

namespace eyrie::base {
namespace {

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

}  // namespace

void write_seal(File& file, const std::vector<Extent>& extents, std::uint64_t end) {
  SealEnd seal{extents.size(), end, seal_hash(file, extents, end), {}};
  std::copy_n(kMagic, sizeof seal.magic, seal.magic);
  std::string text(reinterpret_cast<const char*>(extents.data()), extents.size() * sizeof(Extent));
  text.append(reinterpret_cast<const char*>(&seal), sizeof seal);
  file.write_at(std::as_bytes(std::span(text)), end);
}

Seal check_seal(const File& file) {
  const std::uint64_t size = file.size();
  SealEnd seal{};
  if (size >= sizeof seal) {
    file.read_at(std::as_writable_bytes(std::span(&seal, 1)), size - sizeof seal);
  }
  if (!std::equal(seal.magic, seal.magic + sizeof seal.magic, kMagic)) {
    return {0, fmt::format("the file is cut off, damaged, or not one of Eyrie's ({} bytes, without "
                           "the seal at the end)",
                           size)};
  }
  if (seal.hdf5_bytes > size || seal.extents > size / sizeof(Extent) ||
      seal.hdf5_bytes + seal.extents * sizeof(Extent) + sizeof seal != size) {
    return {0, "the file is damaged (its seal does not fit its size)"};
  }
  std::vector<Extent> extents(seal.extents);
  file.read_at(std::as_writable_bytes(std::span(extents)), seal.hdf5_bytes);
  std::uint64_t at = 0;
  bool sound = true;
  for (const Extent& extent : extents) {
    sound = sound && extent.offset >= at && extent.offset <= seal.hdf5_bytes &&
            extent.bytes <= seal.hdf5_bytes - extent.offset;
    at = extent.offset + extent.bytes;
  }
  if (!sound || seal_hash(file, extents, seal.hdf5_bytes) != seal.hash) {
    return {0, "the file is damaged (its structure does not match its seal)"};
  }
  return {seal.hdf5_bytes, ""};
}

}  // namespace eyrie::base
