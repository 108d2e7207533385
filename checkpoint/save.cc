// Saves a checkpoint: every rank writes its shard, then rank 0 the manifest. Undoes a save that
// failed.
#include "checkpoint/list.h"

#include <bit>
#include <cstring>
#include <map>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/hash.h"
#include "base/hdf5_file.h"
#include "base/listing.h"
#include "base/log.h"
#include "base/version.h"
#include "checkpoint/format.h"

namespace eyrie::checkpoint {
namespace {

using Json = nlohmann::ordered_json;

// Returns the first element that is an infinity or NaN; flat_count if there is none. Word is as
// wide as an element; kExponent has its exponent bits, which are all ones in both.
template <class Word, Word kExponent>
std::int64_t first_not_finite(const TensorPiece& piece) {
  const auto* words = static_cast<const Word*>(piece.data);
  bool any = false;
  for (std::int64_t i = 0; i < piece.flat_count; ++i) any |= (words[i] & kExponent) == kExponent;
  if (!any) return piece.flat_count;
  std::int64_t i = 0;
  while ((words[i] & kExponent) != kExponent) ++i;
  return i;
}

void check_finite(const TensorPiece& piece) {
  const std::int64_t at =
      piece.type == PieceType::kFloat32    ? first_not_finite<std::uint32_t, 0x7f800000u>(piece)
      : piece.type == PieceType::kBFloat16 ? first_not_finite<std::uint16_t, 0x7f80u>(piece)
                                           : piece.flat_count;
  if (at == piece.flat_count) return;
  throw base::Error(fmt::format(
      "tensor {} is not saved: element {} of this rank's piece (which begins at element {} of its "
      "slice) is not a finite number; the training has diverged. Go on from an earlier checkpoint, "
      "with a lower learning rate",
      piece.name, at, piece.flat_begin));
}

std::span<const std::byte> bytes_of(const TensorPiece& piece) {
  const std::size_t width = base::size_of(stored_type(piece.type));
  return {static_cast<const std::byte*>(piece.data),
          static_cast<std::size_t>(piece.flat_count) * width};
}

// What one rank is about to write. Created before any file is touched.
struct CheckedPiece {
  const TensorPiece* piece;
  std::string checksum;  // of its bytes in memory: damage on the way to the disk is noticed too
};
struct Checked {
  Json tensors = Json::object();  // by name: shape, dtype, and this rank's element count
  std::vector<CheckedPiece> pieces;
};

Checked check_pieces(std::span<const TensorPiece> mine) {
  Checked checked;
  for (const TensorPiece& piece : mine) {
    const TensorRange range{piece.start, piece.extent, piece.flat_begin, piece.flat_count};
    EYRIE_CHECK(fits(range, piece.global_shape), "a piece outside of its tensor " + piece.name);
    Json& tensor = checked.tensors[piece.name];
    if (tensor.is_null()) {
      tensor = {{"shape", piece.global_shape}, {"dtype", name_of(piece.type)}, {"count", 0}};
    }
    EYRIE_CHECK(
        tensor["shape"] == Json(piece.global_shape) && tensor["dtype"] == name_of(piece.type),
        "pieces of different tensors under the name " + piece.name);
    tensor["count"] = tensor["count"].get<std::int64_t>() + piece.flat_count;
    if (piece.flat_count == 0) continue;
    check_finite(piece);
    checked.pieces.push_back({&piece, base::hex(base::hash_bytes(bytes_of(piece)))});
  }
  return checked;
}

// Writes this rank's shard, if it has anything to write. Returns what rank 0 needs for the
// manifest.
Json write_shard(const base::Path& directory, int rank, const Checked& checked, std::int64_t step,
                 const std::function<void()>& may_write) {
  Json report = {{"file", nullptr}, {"pieces", Json::array()}, {"tensors", checked.tensors}};
  if (checked.pieces.empty()) return report;

  const std::string name = fmt::format("shard-{:04d}.h5", rank);
  base::Hdf5Writer writer(directory / name);
  writer.set_attribute("", "format", std::string(kCheckpointFormat));
  writer.set_attribute("", "version", kShardFileVersion);
  writer.set_attribute("", "step", step);
  writer.set_attribute("", "rank", std::int64_t{rank});
  std::map<std::string, Json> rows;  // of the manifest's table, by data set
  for (std::size_t i = 0; i < checked.pieces.size(); ++i) {
    const auto& [pointer, checksum] = checked.pieces[i];
    const TensorPiece& piece = *pointer;
    std::string data_set = fmt::format("{}@{}", piece.name, i);
    for (char& c : data_set) c = c == '/' ? '.' : c;
    const base::Hdf5Type type = stored_type(piece.type);
    writer.create(data_set, type, {piece.flat_count});
    writer.set_attribute(data_set, "tensor", piece.name);
    writer.set_attribute(data_set, "dtype", std::string(name_of(piece.type)));
    writer.set_attribute(data_set, "global_shape", piece.global_shape);
    writer.set_attribute(data_set, "start", piece.start);
    writer.set_attribute(data_set, "extent", piece.extent);
    writer.set_attribute(data_set, "flat_begin", piece.flat_begin);
    writer.set_attribute(data_set, "checksum", checksum);
    writer.write_slice(data_set, 0, type, bytes_of(piece));
    rows[data_set] = {piece.name,       piece.start,      piece.extent,
                      piece.flat_begin, piece.flat_count, checksum};
  }
  if (may_write) may_write();
  writer.commit();
  report["file"] = {{"name", name}, {"bytes", base::bytes_of_file(directory / name)}};
  const base::Hdf5Reader written(directory / name, kCheckpointAdvice);
  std::map<std::uint64_t, Json> by_offset;
  for (auto& [data_set, row] : rows) {
    const std::uint64_t offset = written.offset(data_set);
    row.insert(row.begin() + 5, offset);
    by_offset[offset] = std::move(row);
  }
  for (auto& [offset, row] : by_offset) report["pieces"].push_back(std::move(row));
  return report;
}

// One line per entry where there are many; at the end the checksum of everything before it.
std::string manifest_text(const Json& manifest) {
  std::string text = "{\n";
  for (const auto& [key, value] : manifest.items()) {
    text += Json(key).dump() + ": ";
    if (value.is_structured() && !value.empty() && key != "state") {
      text += value.is_array() ? "[" : "{";
      const char* between = "\n  ";
      for (const auto& [name, entry] : value.items()) {
        text += between + (value.is_array() ? "" : Json(name).dump() + ": ") + entry.dump();
        between = ",\n  ";
      }
      text += value.is_array() ? "\n]" : "\n}";
    } else {
      text += value.dump();
    }
    text += ",\n";
  }
  return text + fmt::format("\"checksum\": \"{}\"\n}}\n", base::hex(base::hash_text(text)));
}

std::string make_manifest(const std::vector<std::string>& reports, std::int64_t step,
                          const Json& state) {
  Json files = Json::array(), pieces = Json::array();
  std::map<std::string, Json> tensors;
  for (std::size_t rank = 0; rank < reports.size(); ++rank) {
    Json report = Json::parse(reports[rank]);
    for (Json& row : report["pieces"]) {
      row.insert(row.begin(), files.size());
      pieces.push_back(std::move(row));
    }
    if (!report["file"].is_null()) files.push_back(report["file"]);
    for (const auto& [name, tensor] : report["tensors"].items()) {
      const auto [found, added] = tensors.emplace(name, tensor);
      if (added) continue;
      if (found->second["shape"] != tensor["shape"] || found->second["dtype"] != tensor["dtype"]) {
        throw base::Error(
            fmt::format("rank {} has another shape or dtype of tensor {}", rank, name));
      }
      found->second["count"] =
          found->second["count"].get<std::int64_t>() + tensor["count"].get<std::int64_t>();
    }
  }
  Json keys = Json::object();
  for (auto& [name, tensor] : tensors) {
    const std::int64_t needed = elements_of(tensor["shape"].get<std::vector<std::int64_t>>());
    const auto count = tensor["count"].get<std::int64_t>();
    if (count < needed) {
      throw base::Error(fmt::format("the ranks' pieces have {} of the {} elements of tensor {}",
                                    count, needed, name));
    }
    tensor.erase("count");
    keys[name] = tensor;
  }
  return manifest_text({{"format", kCheckpointFormat},
                        {"version", kCheckpointVersion},
                        {"eyrie", base::kVersion},
                        {"step", step},
                        {"files", files},
                        {"tensors", keys},
                        {"pieces", pieces},
                        {"state", state}});
}

bool is_complete(const base::Path& directory) { return base::is_there(directory / kManifestName); }

// Removes what a failed save left. Never throws, so that the failure itself is reported.
void undo(const base::Path& directory, const base::Path& aside, bool ours,
          const std::function<void()>& may_write) {
  try {
    if (may_write) may_write();
    if (ours) {
      base::remove_tree(directory /
                        kManifestName);  // first, so that no partial checkpoint looks complete
      base::remove_tree(directory);
    }
    if (!base::is_there(directory) && is_complete(aside)) {
      base::rename_file(aside, directory);
    }
  } catch (const std::exception& error) {
    base::log_warning(fmt::format("cleaning up after a failed save: {}", error.what()));
  }
}

}  // namespace

void save_checkpoint(const base::Path& directory, parallel::Communicator& communicator,
                     std::span<const TensorPiece> mine, std::int64_t step,
                     const std::string& state_json, const std::function<void()>& may_write) {
  const bool first = communicator.rank() == 0;
  base::Path aside = directory;
  aside += kReplacedSuffix;
  bool ours = false;  // whether `directory` belongs to this save
  try {
    Json state;
    Checked checked;
    parallel::agree(communicator, [&] {  // on all ranks, before any file is touched
      checked = check_pieces(mine);
      if (!first) return;
      state = Json::parse(state_json, nullptr, false);
      if (!state.is_object()) throw base::Error("the state of a checkpoint is no JSON object");
    });
    parallel::agree(communicator, [&] {
      if (!first) return;
      if (may_write) may_write();
      if (is_complete(directory)) {
        base::remove_tree(aside);
        base::rename_file(directory, aside);
      }
      base::remove_tree(directory);  // the rest of an interrupted save
      ours = true;
      base::make_directories(directory);
    });
    std::string report;
    parallel::agree(communicator, [&] {
      report = write_shard(directory, communicator.rank(), checked, step, may_write).dump();
    });
    const std::vector<std::string> reports = communicator.gather(report, 0);
    parallel::agree(communicator, [&] {
      if (!first) return;
      const std::string manifest = make_manifest(reports, step, state);
      if (may_write) may_write();
      base::write_file(directory / kManifestName, manifest);
    });
  } catch (...) {
    // A failure is thrown on all ranks at once, so no rank is still writing.
    if (first) undo(directory, aside, ours, may_write);
    throw;
  }
  if (!first) return;
  try {
    base::remove_tree(aside);
  } catch (const std::exception& error) {
    base::log_warning(error.what());
  }
}

}  // namespace eyrie::checkpoint
