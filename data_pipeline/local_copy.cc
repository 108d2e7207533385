// Copies shards to a node's own disk and checks them there.
#include "data_pipeline/local_copy.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/hash.h"
#include "base/listing.h"
#include "base/log.h"
#include "base/new_file.h"
#include "base/process_name.h"
#include "data_pipeline/dataset.h"
#include "data_pipeline/shard.h"

namespace eyrie::data_pipeline {
namespace {

void copy_whole(const base::Path& from, const base::Path& to) {
  constexpr std::uint64_t kChunk = 8 << 20;
  const base::File source = base::File::open(from);
  base::NewFile copy(to);
  const std::uint64_t size = source.size();
  std::vector<std::byte> bytes(std::min(size, kChunk));
  for (std::uint64_t at = 0; at < size; at += kChunk) {
    const auto part = std::span(bytes).first(std::min(kChunk, size - at));
    source.read_at(part, at);
    copy.file().write_at(part, at);
  }
  copy.commit();
}

// Throws InputError if the file is not the shard that dataset.json describes.
void check_copy(const base::Path& file, const ShardEntry& entry) {
  const Shard shard(file);
  if (shard.content() != entry.content)
    throw base::InputError(fmt::format("{}: its content is {} in place of {}", file.string(),
                                       shard.content(), entry.content));
  shard.verify();
}

bool is_sound(const base::Path& file, const ShardEntry& entry) {
  if (!base::is_there(file)) return false;
  try {
    check_copy(file, entry);
    return true;
  } catch (const base::InputError& error) {
    base::log_warning(
        fmt::format("{}: this copy of a shard is stale or damaged, and copied again: {}",
                    base::host_name(), error.what()));
    return false;
  }
}

}  // namespace

base::Path local_copy_of(const base::Path& shards, const base::Path& local) {
  read_dataset(shards);  // throws if it is none
  base::Hasher hasher;
  hasher.add(base::read_file(shards / kDatasetFile));
  const base::Path folder = std::filesystem::absolute(shards).lexically_normal();
  const base::Path name =
      folder.has_filename() ? folder.filename() : folder.parent_path().filename();
  return local / fmt::format("{}-{}", name.string(), base::hex(hasher.value()));
}

LocalCopy copy_to_local(const base::Path& shards, const base::Path& local) {
  const base::Path folder = local_copy_of(shards, local);
  base::make_directories(folder);
  LocalCopy done;
  std::vector<ShardEntry> missing;
  std::uint64_t bytes = 0;
  for (const SourceSummary& source : read_dataset(shards).sources) {
    for (const ShardEntry& entry : source.shards) {
      if (is_sound(folder / entry.file, entry)) {
        ++done.files_kept;
        continue;
      }
      missing.push_back(entry);
      bytes += base::bytes_of_file(shards / entry.file);
    }
  }
  const std::uint64_t free = std::filesystem::space(folder).available;
  if (bytes > free)
    throw base::InputError(fmt::format(
        "{}: copies of the shards in {} need {:.1f} GB more, and {} has {:.1f} GB: make room, name "
        "another folder, or leave out --local-shards",
        base::host_name(), shards.string(), static_cast<double>(bytes) * 1e-9, folder.string(),
        static_cast<double>(free) * 1e-9));
  for (const ShardEntry& entry : missing) {
    copy_whole(shards / entry.file, folder / entry.file);
    try {
      check_copy(folder / entry.file, entry);
    } catch (const base::InputError& error) {
      throw base::InputError(fmt::format(
          "{}: a fresh copy of {} is not what {} says: {} (`eyrie data inspect --verify {}` reads "
          "the shards themselves)",
          base::host_name(), (shards / entry.file).string(), kDatasetFile, error.what(),
          shards.string()));
    }
    ++done.files_copied;
  }
  done.bytes_copied = static_cast<std::int64_t>(bytes);
  base::write_file(folder / kDatasetFile, base::read_file(shards / kDatasetFile));
  return done;
}

}  // namespace eyrie::data_pipeline
