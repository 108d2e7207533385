// A copy of a folder of shards on a node's own disk, for where the shared file system is slow.
#pragma once

#include <cstdint>

#include "base/file.h"

namespace eyrie::data_pipeline {

// Where the copy of `shards` lies below `local`: a folder named after the shards' and the bytes of
// their dataset.json, so that other data of the same name never takes its place. Throws InputError
// if the folder has no finished build.
base::Path local_copy_of(const base::Path& shards, const base::Path& local);

struct LocalCopy {
  std::int64_t files_copied = 0, files_kept = 0;
  std::int64_t bytes_copied = 0;
};

// Makes sure that the copy is there: copies the shards that are missing, and reads all of them once
// to compare every checksum with dataset.json. One that is stale or damaged is not used: it is
// copied again, with a warning. Several jobs may do this at the same time. Throws InputError if the
// disk has too little space, or if a fresh copy is not what dataset.json says (the shard itself is
// damaged).
LocalCopy copy_to_local(const base::Path& shards, const base::Path& local);

}  // namespace eyrie::data_pipeline
