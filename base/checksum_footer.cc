// The checksum footer: computed from the file as it is on disk, and checked before the HDF5 library
// sees the file.
#include "base/checksum_footer.h"

#include <algorithm>
#include <span>

#include <fmt/format.h>

#include "base/hash.h"

namespace eyrie::base {
namespace {

// The end of the file, after the table of extents.
struct FooterEnd {
  std::uint64_t extents;
  std::uint64_t hdf5_bytes;  // before the checksum footer
  std::uint64_t hash;  // of everything that is not data: structure, then table, extents, hdf5_bytes
  char magic[8];
};
constexpr char kMagic[9] = "EYRSEAL1";

std::uint64_t footer_hash(const File& file, const std::vector<Extent>& extents, std::uint64_t end) {
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

void write_checksum_footer(File& file, const std::vector<Extent>& extents, std::uint64_t end) {
  FooterEnd footer{extents.size(), end, footer_hash(file, extents, end), {}};
  std::copy_n(kMagic, sizeof footer.magic, footer.magic);
  std::string text(reinterpret_cast<const char*>(extents.data()), extents.size() * sizeof(Extent));
  text.append(reinterpret_cast<const char*>(&footer), sizeof footer);
  file.write_at(std::as_bytes(std::span(text)), end);
}

ChecksumFooter check_checksum_footer(const File& file) {
  const std::uint64_t size = file.size();
  FooterEnd footer{};
  if (size >= sizeof footer) {
    file.read_at(std::as_writable_bytes(std::span(&footer, 1)), size - sizeof footer);
  }
  if (!std::equal(footer.magic, footer.magic + sizeof footer.magic, kMagic)) {
    return {0, fmt::format("the file is cut off, damaged, or not one of Eyrie's ({} bytes, without "
                           "the checksum footer at the end)",
                           size)};
  }
  if (footer.hdf5_bytes > size || footer.extents > size / sizeof(Extent) ||
      footer.hdf5_bytes + footer.extents * sizeof(Extent) + sizeof footer != size) {
    return {0, "the file is damaged (its checksum footer does not fit its size)"};
  }
  std::vector<Extent> extents(footer.extents);
  file.read_at(std::as_writable_bytes(std::span(extents)), footer.hdf5_bytes);
  std::uint64_t at = 0;
  bool sound = true;
  for (const Extent& extent : extents) {
    sound = sound && extent.offset >= at && extent.offset <= footer.hdf5_bytes &&
            extent.bytes <= footer.hdf5_bytes - extent.offset;
    at = extent.offset + extent.bytes;
  }
  if (!sound || footer_hash(file, extents, footer.hdf5_bytes) != footer.hash) {
    return {0, "the file is damaged (its structure does not match its checksum footer)"};
  }
  return {footer.hdf5_bytes, ""};
}

}  // namespace eyrie::base
