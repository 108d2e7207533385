// Reads a checkpoint: checks its files against its manifest, and reads ranges from pieces of any
// layout.
#include "checkpoint/reader.h"

#include <algorithm>
#include <cstring>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/hash.h"
#include "base/hdf5_file.h"
#include "base/listing.h"
#include "checkpoint/format.h"

namespace eyrie::checkpoint {
namespace {

using Json = nlohmann::ordered_json;
using Axes = std::vector<std::int64_t>;

base::InputError bad(const base::Path& path, const std::string& message) {
  return base::InputError(fmt::format("{}: {}; {}", path.string(), message, kCheckpointAdvice));
}

// Reads the manifest and verifies its checksum.
Json read_manifest(const base::Path& directory) {
  const base::Path path = directory / kManifestName;
  if (!base::is_there(path)) {
    if (!base::is_folder(directory)) {
      throw base::InputError(
          fmt::format("{}: there is no such checkpoint directory", directory.string()));
    }
    throw bad(directory, "no manifest.json: this save was never finished");
  }
  const std::string text = base::read_file(path);
  const std::size_t place = text.rfind("\"checksum\"");
  const std::string before = text.substr(0, place);
  if (place == std::string::npos ||
      text.substr(place) !=
          fmt::format("\"checksum\": \"{}\"\n}}\n", base::hex(base::hash_text(before)))) {
    throw bad(path, "the manifest is damaged (its checksum does not hold)");
  }
  try {
    return Json::parse(text);
  } catch (const Json::exception& error) {
    throw bad(path, fmt::format("the manifest cannot be read ({})", error.what()));
  }
}

// Returns the checksum of `count` bytes at `offset`, read a part at a time.
std::uint64_t hash_part(const base::File& file, std::uint64_t offset, std::uint64_t count) {
  base::Hasher hasher;
  std::vector<std::byte> buffer(std::min<std::uint64_t>(count, 8 << 20));
  while (count > 0) {
    const std::span<std::byte> part =
        std::span(buffer).first(std::min<std::uint64_t>(count, buffer.size()));
    file.read_at(part, offset);
    hasher.add(part);
    offset += part.size();
    count -= part.size();
  }
  return hasher.value();
}

}  // namespace

std::string read_state(const base::Path& directory) {
  const Json manifest = read_manifest(directory);
  return manifest.contains("state") ? manifest["state"].dump() : "{}";
}

CheckpointReader::CheckpointReader(const base::Path& directory) : directory_(directory) {
  const Json manifest = read_manifest(directory);
  const base::Path path = directory / kManifestName;
  try {
    if (manifest.at("format") != kCheckpointFormat ||
        manifest.at("version") != kCheckpointVersion) {
      throw base::InputError(fmt::format(
          "{}: this is {} version {}, written by eyrie {}; this program reads {} version {}: use a "
          "program that is as new",
          path.string(), manifest.at("format").dump(), manifest.at("version").dump(),
          manifest.at("eyrie").dump(), kCheckpointFormat, kCheckpointVersion));
    }
    step_ = manifest.at("step");
    state_ = manifest.at("state").dump();
    for (const auto& [name, entry] : manifest.at("tensors").items()) {
      tensors_[name] = {entry.at("shape").get<Axes>(), piece_type_from(entry.at("dtype")), {}};
      if (!is_shape(tensors_[name].shape))
        throw bad(path, fmt::format("tensor {} has no possible shape", name));
    }
    for (const Json& file : manifest.at("files")) {
      files_.push_back(file.at("name"));
      if (base::Path(files_.back()).filename() != files_.back())
        throw bad(path, fmt::format("'{}' is no file of this folder", files_.back()));
      read_file(files_.size() - 1, file.at("bytes"), file.at("pieces"), file.at("fingerprint"));
    }
  } catch (const Json::exception& error) {
    throw bad(path, fmt::format("the manifest is incomplete ({})", error.what()));
  }
}

void CheckpointReader::read_file(std::size_t number, std::uint64_t bytes, std::int64_t pieces,
                                 const std::string& fingerprint) {
  const base::Path path = directory_ / files_[number];
  if (!base::is_there(path))
    throw bad(path, "the shard cannot be read (No such file or directory)");
  const std::uint64_t size = base::bytes_of_file(path);
  if (size != bytes) {
    throw bad(path, fmt::format("the shard has {} bytes instead of {}: it is cut off or of another "
                                "save",
                                size, bytes));
  }
  const base::Hdf5Reader reader(path, kCheckpointAdvice);
  base::Hasher hasher;
  const std::vector<std::string> data_sets = reader.list();
  for (const std::string& data_set : data_sets) {
    const auto& name = reader.attribute<std::string>(data_set, "tensor");
    const auto& shape = reader.attribute<Axes>(data_set, "global_shape");
    const auto& checksum = reader.attribute<std::string>(data_set, "checksum");
    const PieceType type = piece_type_from(reader.attribute<std::string>(data_set, "dtype"));
    const TensorRange range{
        reader.attribute<Axes>(data_set, "start"), reader.attribute<Axes>(data_set, "extent"),
        reader.attribute<std::int64_t>(data_set, "flat_begin"), reader.count(data_set)};
    hasher.add(describe_piece(name, type, shape, range, checksum));
    const auto tensor = tensors_.find(name);
    if (tensor == tensors_.end() || tensor->second.shape != shape || tensor->second.type != type ||
        reader.type(data_set) != stored_type(type) || !fits(range, shape)) {
      throw bad(path, fmt::format("tensor {}: a piece does not fit the manifest", name));
    }
    tensor->second.pieces.push_back(
        {number, reader.offset(data_set), base::from_hex(checksum), range});
  }
  if (static_cast<std::int64_t>(data_sets.size()) != pieces ||
      base::hex(hasher.value()) != fingerprint) {
    throw bad(path, "the shard is not the one that the manifest names, but of another save");
  }
}

const CheckpointReader::Tensor& CheckpointReader::find(const std::string& name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) {
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
  for (const auto& [name, tensor] : tensors_) all.push_back(name);
  return all;
}

const Axes& CheckpointReader::shape(const std::string& name) const { return find(name).shape; }

PieceType CheckpointReader::type(const std::string& name) const { return find(name).type; }

std::vector<std::byte> CheckpointReader::read_piece(const std::string& name, const Tensor& tensor,
                                                    const Piece& piece) const {
  const base::Path path = directory_ / files_[piece.file];
  const std::size_t width = base::size_of(stored_type(tensor.type));
  std::vector<std::byte> bytes(static_cast<std::size_t>(piece.range.flat_count) * width);
  base::File::open(path).read_at(bytes, piece.offset);
  if (base::hash_bytes(bytes) != piece.checksum) {
    throw bad(path,
              fmt::format("tensor {}: its data is damaged (the checksum does not hold)", name));
  }
  return bytes;
}

void CheckpointReader::read_bytes(const std::string& name, PieceType type, const TensorRange& range,
                                  std::byte* out, bool check) const {
  const Tensor& tensor = find(name);
  if (tensor.type != type) {
    throw base::InputError(fmt::format("{}: tensor {} is of {}, not {}", directory_.string(), name,
                                       name_of(tensor.type), name_of(type)));
  }
  EYRIE_CHECK(fits(range, tensor.shape), "a range outside of tensor " + name);
  const auto width = static_cast<std::int64_t>(base::size_of(stored_type(type)));
  std::vector<Copy> all;
  for (const Piece& piece : tensor.pieces) {
    const std::vector<Copy> copies = copies_between(piece.range, range);
    if (copies.empty()) continue;
    if (check) {
      const std::vector<std::byte> bytes = read_piece(name, tensor, piece);
      for (const Copy& copy : copies) {
        std::memcpy(out + copy.to * width, bytes.data() + copy.from * width,
                    static_cast<std::size_t>(copy.count * width));
      }
    } else {
      const base::File file = base::File::open(directory_ / files_[piece.file]);
      for (const Copy& copy : copies) {
        file.read_at({out + copy.to * width, static_cast<std::size_t>(copy.count * width)},
                     piece.offset + static_cast<std::uint64_t>(copy.from * width));
      }
    }
    all.insert(all.end(), copies.begin(), copies.end());
  }
  const std::int64_t gap = first_gap(all, range.flat_count);
  if (gap < range.flat_count) {
    throw bad(directory_,
              fmt::format("tensor {}: element {} of the range wanted is in no shard", name, gap));
  }
}

void CheckpointReader::read(const std::string& name, const TensorRange& range, float* out) const {
  read_bytes(name, PieceType::kFloat32, range, reinterpret_cast<std::byte*>(out), true);
}
void CheckpointReader::read(const std::string& name, const TensorRange& range,
                            std::int32_t* out) const {
  read_bytes(name, PieceType::kInt32, range, reinterpret_cast<std::byte*>(out), true);
}
void CheckpointReader::read(const std::string& name, const TensorRange& range,
                            std::uint16_t* out) const {
  read_bytes(name, PieceType::kBFloat16, range, reinterpret_cast<std::byte*>(out), true);
}
void CheckpointReader::read(const std::string& name, const TensorRange& range,
                            std::uint8_t* out) const {
  read_bytes(name, PieceType::kUint8, range, reinterpret_cast<std::byte*>(out), true);
}

void CheckpointReader::read_all(const std::string& name, float* out) const {
  const Axes& axes = shape(name);
  read(name, TensorRange{Axes(axes.size()), axes, 0, elements_of(axes)}, out);
}

void CheckpointReader::read_verified(const std::string& name, const TensorRange& range,
                                     float* out) const {
  read_bytes(name, PieceType::kFloat32, range, reinterpret_cast<std::byte*>(out), false);
}

void CheckpointReader::verify(int part, int parts) const {
  for (const auto& [name, tensor] : tensors_) verify_pieces(name, tensor, part, parts);
}

void CheckpointReader::verify(const std::string& name) const {
  verify_pieces(name, find(name), 0, 1);
}

void CheckpointReader::verify_pieces(const std::string& name, const Tensor& tensor, int part,
                                     int parts) const {
  for (const Piece& piece : tensor.pieces) {
    if (static_cast<int>(piece.file % static_cast<std::size_t>(parts)) != part) continue;
    const base::Path path = directory_ / files_[piece.file];
    const std::uint64_t bytes = static_cast<std::uint64_t>(piece.range.flat_count) *
                                base::size_of(stored_type(tensor.type));
    if (hash_part(base::File::open(path), piece.offset, bytes) != piece.checksum) {
      throw bad(path,
                fmt::format("tensor {}: its data is damaged (the checksum does not hold)", name));
    }
  }
  if (part != 0) return;
  const std::int64_t count = elements_of(tensor.shape);
  const TensorRange whole{Axes(tensor.shape.size()), tensor.shape, 0, count};
  std::vector<Copy> all;
  for (const Piece& piece : tensor.pieces) {
    const std::vector<Copy> copies = copies_between(piece.range, whole);
    all.insert(all.end(), copies.begin(), copies.end());
  }
  const std::int64_t gap = first_gap(all, count);
  if (gap < count) {
    throw bad(directory_, fmt::format("tensor {}: element {} is in no shard", name, gap));
  }
}

}  // namespace eyrie::checkpoint
