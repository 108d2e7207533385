// Reading manifests of both versions.
#include "checkpoint/manifest.h"

#include <set>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/hash.h"
#include "base/hdf5_file.h"
#include "base/listing.h"

namespace eyrie::checkpoint {
namespace {

using Json = nlohmann::ordered_json;
using Axes = std::vector<std::int64_t>;

// Reads the file and verifies its checksum.
Json read_json(const base::Path& directory) {
  const base::Path path = directory / kManifestName;
  if (!base::is_there(path)) {
    if (!base::is_folder(directory)) {
      throw DamagedCheckpoint(
          fmt::format("{}: there is no such checkpoint directory", directory.string()));
    }
    throw damaged(directory, "no manifest.json: this save was never finished");
  }
  const std::string text = base::read_file(path);
  const std::size_t place = text.rfind("\"checksum\"");
  const std::string before = text.substr(0, place);
  if (place == std::string::npos ||
      text.substr(place) !=
          fmt::format("\"checksum\": \"{}\"\n}}\n", base::hex(base::hash_text(before)))) {
    throw damaged(path, "the manifest is damaged (its checksum does not hold)");
  }
  try {
    return Json::parse(text);
  } catch (const Json::exception& error) {
    throw damaged(path, fmt::format("the manifest cannot be read ({})", error.what()));
  }
}

// A piece as a shard file describes it.
struct FilePiece {
  std::string tensor;
  PieceType type;
  Axes shape;
  std::uint64_t offset;
  std::string checksum;
  TensorRange range;
  base::Hdf5Type stored;
};

// In the order of the data sets' names.
std::vector<FilePiece> pieces_of(const base::Path& path) {
  try {
    const base::Hdf5Reader reader(path, kCheckpointAdvice);
    std::vector<FilePiece> pieces;
    for (const std::string& set : reader.list()) {
      pieces.push_back(
          {reader.attribute<std::string>(set, "tensor"),
           piece_type_from(reader.attribute<std::string>(set, "dtype")),
           reader.attribute<Axes>(set, "global_shape"),
           reader.offset(set),
           reader.attribute<std::string>(set, "checksum"),
           {reader.attribute<Axes>(set, "start"), reader.attribute<Axes>(set, "extent"),
            reader.attribute<std::int64_t>(set, "flat_begin"), reader.count(set)},
           reader.type(set)});
    }
    return pieces;
  } catch (const base::InputError& error) {
    throw DamagedCheckpoint(error.what());
  }
}

std::string describe(const FilePiece& piece) {
  return describe_piece(piece.tensor, piece.type, piece.shape, piece.range, piece.checksum);
}

void add_piece(const base::Path& path, Manifest& manifest, const std::string& name,
               const ManifestPiece& piece) {
  const auto tensor = manifest.tensors.find(name);
  if (tensor == manifest.tensors.end() || !fits(piece.range, tensor->second.shape))
    throw damaged(path, fmt::format("tensor {}: a piece does not fit the manifest", name));
  tensor->second.pieces.push_back(piece);
}

// Version 1: the pieces are found in the file, whose fingerprint says that it is the right one.
void find_pieces(const base::Path& path, Manifest& manifest, std::size_t file, const Json& entry) {
  base::Hasher hasher;
  const std::vector<FilePiece> pieces = pieces_of(path);
  for (const FilePiece& piece : pieces) {
    hasher.add(describe(piece));
    const auto tensor = manifest.tensors.find(piece.tensor);
    if (tensor == manifest.tensors.end() || tensor->second.shape != piece.shape ||
        tensor->second.type != piece.type || piece.stored != stored_type(piece.type)) {
      throw damaged(path,
                    fmt::format("tensor {}: a piece does not fit the manifest", piece.tensor));
    }
    add_piece(path, manifest, piece.tensor,
              {file, piece.offset, base::from_hex(piece.checksum), piece.range});
  }
  if (std::ssize(pieces) != entry.at("pieces").get<std::int64_t>() ||
      base::hex(hasher.value()) != entry.at("fingerprint").get<std::string>()) {
    throw damaged(path, "the shard is not the one that the manifest names, but of another save");
  }
}

void check_size(const base::Path& path, std::uint64_t bytes) {
  if (!base::is_there(path))
    throw damaged(path, "the shard cannot be read (No such file or directory)");
  const std::uint64_t size = base::bytes_of_file(path);
  if (size != bytes) {
    throw damaged(path, fmt::format("the shard has {} bytes instead of {}: it is cut off or of "
                                    "another save",
                                    size, bytes));
  }
}

Manifest parse(const base::Path& directory, const Json& json) {
  const base::Path path = directory / kManifestName;
  const Json& version = json.at("version");
  if (json.at("format") != kCheckpointFormat || (version != 1 && version != kCheckpointVersion)) {
    throw DamagedCheckpoint(fmt::format(
        "{}: this is {} version {}, written by eyrie {}; this program reads {} up to version {}: "
        "use a program that is as new",
        path.string(), json.at("format").dump(), version.dump(), json.at("eyrie").dump(),
        kCheckpointFormat, kCheckpointVersion));
  }
  Manifest manifest;
  manifest.step = json.at("step");
  manifest.state = json.at("state").dump();
  for (const auto& [name, entry] : json.at("tensors").items()) {
    manifest.tensors[name] = {
        entry.at("shape").get<Axes>(), piece_type_from(entry.at("dtype")), {}};
    if (!is_shape(manifest.tensors[name].shape))
      throw damaged(path, fmt::format("tensor {} has no possible shape", name));
  }
  for (const Json& file : json.at("files")) {
    manifest.files.push_back(file.at("name"));
    if (base::Path(manifest.files.back()).filename() != manifest.files.back())
      throw damaged(path, fmt::format("'{}' is no file of this folder", manifest.files.back()));
    const base::Path shard = directory / manifest.files.back();
    check_size(shard, file.at("bytes"));
    if (version == 1) find_pieces(shard, manifest, manifest.files.size() - 1, file);
  }
  if (version == 1) return manifest;
  for (const Json& row : json.at("pieces")) {
    const auto file = row.at(0).get<std::size_t>();
    if (file >= manifest.files.size()) throw damaged(path, "a piece in a file that is not listed");
    add_piece(path, manifest, row.at(1),
              {file,
               row.at(6).get<std::uint64_t>(),
               base::from_hex(row.at(7).get<std::string>()),
               {row.at(2).get<Axes>(), row.at(3).get<Axes>(), row.at(4).get<std::int64_t>(),
                row.at(5).get<std::int64_t>()}});
  }
  return manifest;
}

}  // namespace

DamagedCheckpoint damaged(const base::Path& path, const std::string& message) {
  return DamagedCheckpoint(fmt::format("{}: {}; {}", path.string(), message, kCheckpointAdvice));
}

std::string read_state(const base::Path& directory) {
  const Json manifest = read_json(directory);
  return manifest.contains("state") ? manifest["state"].dump() : "{}";
}

Manifest read_manifest(const base::Path& directory) {
  const base::Path path = directory / kManifestName;
  try {
    return parse(directory, read_json(directory));
  } catch (const Json::exception& error) {
    throw damaged(path, fmt::format("the manifest is incomplete ({})", error.what()));
  } catch (const DamagedCheckpoint&) {
    throw;
  } catch (const base::InputError& error) {  // a dtype or a checksum that is none
    throw damaged(path, error.what());
  }
}

void check_file(const base::Path& directory, const Manifest& manifest, std::size_t file) {
  const base::Path path = directory / manifest.files[file];
  std::multiset<std::string> listed, there;
  for (const auto& [name, tensor] : manifest.tensors) {
    for (const ManifestPiece& piece : tensor.pieces) {
      if (piece.file == file)
        listed.insert(fmt::format("{} {}", piece.offset,
                                  describe_piece(name, tensor.type, tensor.shape, piece.range,
                                                 base::hex(piece.checksum))));
    }
  }
  for (const FilePiece& piece : pieces_of(path))
    there.insert(fmt::format("{} {}", piece.offset, describe(piece)));
  if (listed != there)
    throw damaged(path, "the shard is not the one that the manifest names, but of another save");
}

}  // namespace eyrie::checkpoint
