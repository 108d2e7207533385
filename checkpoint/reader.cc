// Reads ranges of tensors from pieces of any layout.
#include "checkpoint/reader.h"

#include <algorithm>
#include <cstring>

#include <fmt/format.h>

#include "base/error.h"
#include "base/hash.h"
#include "base/listing.h"

namespace eyrie::checkpoint {
namespace {

using Axes = std::vector<std::int64_t>;

constexpr std::uint64_t kMostKept = std::uint64_t{256} << 20;  // bytes of a piece that is kept

std::uint64_t width_of(const ManifestTensor& tensor) {
  return base::size_of(stored_type(tensor.type));
}

std::uint64_t bytes_of(const ManifestTensor& tensor, const ManifestPiece& piece) {
  return static_cast<std::uint64_t>(piece.range.flat_count) * width_of(tensor);
}

}  // namespace

CheckpointReader::CheckpointReader(const base::Path& directory)
    : directory_(directory), manifest_(read_manifest(directory)) {}

const ManifestTensor& CheckpointReader::find(const std::string& name) const {
  const auto found = manifest_.tensors.find(name);
  if (found == manifest_.tensors.end()) {
    std::string near = base::nearest(name, names());
    if (!near.empty()) near = fmt::format(" (the nearest is {})", near);
    throw base::InputError(
        fmt::format("{}: the checkpoint has no tensor {}{}; it is one of another "
                    "model or optimizer",
                    directory_.string(), name, near));
  }
  return found->second;
}

std::vector<std::string> CheckpointReader::names() const {
  std::vector<std::string> all;
  for (const auto& [name, tensor] : manifest_.tensors) all.push_back(name);
  return all;
}

const Axes& CheckpointReader::shape(const std::string& name) const { return find(name).shape; }

PieceType CheckpointReader::type(const std::string& name) const { return find(name).type; }

const base::File& CheckpointReader::open(std::size_t file) const {
  if (!open_ || open_number_ != file) {
    open_.reset();
    open_.emplace(base::File::open(directory_ / manifest_.files[file]));
    open_number_ = file;
  }
  return *open_;
}

void CheckpointReader::check(const std::string& name, const ManifestPiece& piece,
                             std::uint64_t hash) const {
  if (hash == piece.checksum) {
    verified_.insert(&piece);
    return;
  }
  throw damaged(directory_ / manifest_.files[piece.file],
                fmt::format("tensor {}: its data is damaged (the checksum does not hold)", name));
}

// Returns the checksum of the piece's bytes, read a part at a time.
std::uint64_t CheckpointReader::hash_of(const ManifestPiece& piece, std::uint64_t bytes) const {
  const base::File& file = open(piece.file);
  base::Hasher hasher;
  std::vector<std::byte> buffer(std::min<std::uint64_t>(bytes, 8 << 20));
  for (std::uint64_t done = 0; done < bytes;) {
    const auto part = std::span(buffer).first(std::min<std::uint64_t>(bytes - done, buffer.size()));
    file.read_at(part, piece.offset + done);
    hasher.add(part);
    done += part.size();
  }
  return hasher.value();
}

// Copies elements of a piece to `out`. A small piece is read as a whole, and kept.
void CheckpointReader::copy(const std::string& name, const ManifestTensor& tensor,
                            const ManifestPiece& piece, const std::vector<Copy>& copies,
                            std::byte* out) const {
  const auto width = static_cast<std::int64_t>(width_of(tensor));
  const std::uint64_t bytes = bytes_of(tensor, piece);
  const std::lock_guard lock(mutex_);
  if (bytes <= kMostKept && kept_ != &piece) {
    kept_ = nullptr;
    bytes_.resize(bytes);
    open(piece.file).read_at(bytes_, piece.offset);
    check(name, piece, base::hash_bytes(bytes_));
    kept_ = &piece;
  }
  if (!verified_.contains(&piece)) check(name, piece, hash_of(piece, bytes));
  for (const Copy& copy : copies) {
    std::byte* const to = out + copy.to * width;
    const auto count = static_cast<std::size_t>(copy.count * width);
    if (kept_ == &piece) {
      std::memcpy(to, bytes_.data() + copy.from * width, count);
    } else {
      open(piece.file)
          .read_at({to, count}, piece.offset + static_cast<std::uint64_t>(copy.from * width));
    }
  }
}

void CheckpointReader::read_bytes(const std::string& name, PieceType type, const TensorRange& range,
                                  std::byte* out) const {
  const ManifestTensor& tensor = find(name);
  if (tensor.type != type) {
    throw base::InputError(fmt::format("{}: tensor {} is of {}, not {}", directory_.string(), name,
                                       name_of(tensor.type), name_of(type)));
  }
  EYRIE_CHECK(fits(range, tensor.shape), "a range outside of tensor " + name);
  std::vector<Copy> all;
  for (const ManifestPiece& piece : tensor.pieces) {
    const std::vector<Copy> copies = copies_between(piece.range, range);
    if (copies.empty()) continue;
    copy(name, tensor, piece, copies, out);
    all.insert(all.end(), copies.begin(), copies.end());
  }
  const std::int64_t gap = first_gap(all, range.flat_count);
  if (gap < range.flat_count) {
    throw damaged(
        directory_,
        fmt::format("tensor {}: element {} of the range wanted is in no shard", name, gap));
  }
}

void CheckpointReader::read(const std::string& name, const TensorRange& range, float* out) const {
  read_bytes(name, PieceType::kFloat32, range, reinterpret_cast<std::byte*>(out));
}
void CheckpointReader::read(const std::string& name, const TensorRange& range,
                            std::int32_t* out) const {
  read_bytes(name, PieceType::kInt32, range, reinterpret_cast<std::byte*>(out));
}
void CheckpointReader::read(const std::string& name, const TensorRange& range,
                            std::uint16_t* out) const {
  read_bytes(name, PieceType::kBFloat16, range, reinterpret_cast<std::byte*>(out));
}
void CheckpointReader::read(const std::string& name, const TensorRange& range,
                            std::uint8_t* out) const {
  read_bytes(name, PieceType::kUint8, range, reinterpret_cast<std::byte*>(out));
}

void CheckpointReader::read_all(const std::string& name, float* out) const {
  const Axes& axes = shape(name);
  read(name, TensorRange{Axes(axes.size()), axes, 0, elements_of(axes)}, out);
}

void CheckpointReader::verify_tensor(const std::string& name, const ManifestTensor& tensor,
                                     int part, int parts) const {
  for (const ManifestPiece& piece : tensor.pieces) {
    if (static_cast<int>(piece.file % static_cast<std::size_t>(parts)) != part) continue;
    const std::lock_guard lock(mutex_);
    check(name, piece, hash_of(piece, bytes_of(tensor, piece)));
  }
  if (part != 0) return;
  const std::int64_t count = elements_of(tensor.shape);
  const TensorRange whole{Axes(tensor.shape.size()), tensor.shape, 0, count};
  std::vector<Copy> all;
  for (const ManifestPiece& piece : tensor.pieces) {
    const std::vector<Copy> copies = copies_between(piece.range, whole);
    all.insert(all.end(), copies.begin(), copies.end());
  }
  const std::int64_t gap = first_gap(all, count);
  if (gap < count)
    throw damaged(directory_, fmt::format("tensor {}: element {} is in no shard", name, gap));
}

void CheckpointReader::verify(int part, int parts) const {
  for (std::size_t file = 0; file < manifest_.files.size(); ++file) {
    if (static_cast<int>(file % static_cast<std::size_t>(parts)) == part)
      check_file(directory_, manifest_, file);
  }
  for (const auto& [name, tensor] : manifest_.tensors) verify_tensor(name, tensor, part, parts);
}

std::vector<std::string> CheckpointReader::faults() const {
  std::vector<std::string> faults;
  const auto note = [&](const auto& look) {
    try {
      look();
    } catch (const base::Error& error) {
      faults.emplace_back(error.what());
    }
  };
  for (std::size_t file = 0; file < manifest_.files.size(); ++file)
    note([&] { check_file(directory_, manifest_, file); });
  for (const auto& [name, tensor] : manifest_.tensors)
    note([&, &name = name, &tensor = tensor] { verify_tensor(name, tensor, 0, 1); });
  return faults;
}

}  // namespace eyrie::checkpoint
