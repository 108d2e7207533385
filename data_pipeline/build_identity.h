// Everything that decides the shards of a build. Ranks compare it with each other, and a later
// build compares it with the one in the output folder.
#pragma once

#include <string>
#include <vector>

#include "data_pipeline/data_config.h"
#include "data_pipeline/dataset.h"
#include "data_pipeline/exclusion.h"
#include "parallel/communication/same.h"
#include "text/tokenizer.h"

namespace eyrie::data_pipeline {

// The size of a file and a hash of its beginning and end: enough to notice that two nodes have
// different files, without every rank reading them whole.
parallel::Fact file_fact(const std::string& name, const base::Path& path);

// The facts that must be equal on all ranks. Reads the beginning and end of every file.
parallel::Facts build_facts(const DataConfig& config, const text::Tokenizer& tokenizer,
                            const ExclusionIndex& exclusion);

// Collective. Every file is read once, by one of the ranks. Returns a hash of 16 hex digits for
// each file, indexed by source and file.
std::vector<std::vector<std::string>> hash_files(const DataConfig& config,
                                                 parallel::Communicator& communicator);

// Returns the hash, 16 hex digits, of everything that decides the shards. The hashes of the
// tokenizer and the exclusion set are taken from `dataset`.
std::string build_hash(const DataConfig& config, const Dataset& dataset,
                       const text::Tokenizer& tokenizer, std::int64_t block_bytes,
                       const std::vector<std::vector<std::string>>& file_hashes);

}  // namespace eyrie::data_pipeline
