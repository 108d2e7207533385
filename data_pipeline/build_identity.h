// What decides the shards of a build: for ranks to compare, and for a later build to be told from
// this one.
#pragma once

#include <string>
#include <vector>

#include "data_pipeline/data_config.h"
#include "data_pipeline/dataset.h"
#include "data_pipeline/exclusion.h"
#include "parallel/same.h"
#include "text/tokenizer.h"

namespace eyrie::data_pipeline {

// A file's size and the hash of its beginning and end: enough to tell apart files of two nodes that
// every rank would otherwise have to read whole.
parallel::Fact file_fact(const std::string& name, const base::Path& path);

// What every rank must have been given alike. Reads the beginning and end of every file.
parallel::Facts build_facts(const DataConfig& config, const text::Tokenizer& tokenizer,
                            const ExclusionIndex& exclusion);

// Collective: every file is read once, dealt to the ranks. By source and file: 16 hex digits.
std::vector<std::vector<std::string>> hash_files(const DataConfig& config,
                                                 parallel::Communicator& communicator);

// Over all that decides the shards: 16 hex digits. `dataset` names tokenizer and exclusion.
std::string build_hash(const DataConfig& config, const Dataset& dataset,
                       const text::Tokenizer& tokenizer, std::int64_t block_bytes,
                       const std::vector<std::vector<std::string>>& file_hashes);

}  // namespace eyrie::data_pipeline
