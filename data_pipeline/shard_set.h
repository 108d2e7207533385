// A finished folder of shards, opened for a run: every check that a run needs before its first
// step.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "data_pipeline/shard.h"
#include "text/task_content.h"

namespace eyrie::data_pipeline {

// What a run asks of its data.
struct DataNeeds {
  std::string tokenizer_file, tokenizer_hash;  // of the run
  std::vector<std::string> tasks;  // that it evaluates, in any stage: groups or leaf tasks
  // The leaf tasks of groups, where known: data that was screened for all of them serves the group.
  std::map<std::string, std::vector<std::string>> leaf_tasks = {};
  // What the leaf tasks' documents say that the run evaluates (and draws shots from), by split.
  text::TaskContents contents = {};
  std::int64_t vocabulary = 0;  // pieces of the run's tokenizer; 0: not compared
};

// Read-only and thread-safe once open.
class ShardSet {
 public:
  struct Document {
    std::uint32_t shard, document;
  };
  struct Source {
    std::string name;
    std::vector<Shard> shards;
    std::vector<Document> training, validation;  // in the order of the shards; none without tokens
  };

  // InputError: no finished build there; a shard is missing, cut off, damaged, of another build, or
  // not named by dataset.json, or dataset.json says something else of it than it says itself; made
  // with another tokenizer (both hashes and files) or vocabulary; not screened for a task that the
  // run evaluates (task and file), or for another edition of it.
  static std::shared_ptr<const ShardSet> open(const base::Path& directory, const DataNeeds& needs);

  const base::Path& directory() const { return directory_; }
  const std::vector<Source>& sources() const { return sources_; }
  const Source& source(const std::string& name) const;  // InputError names the known ones
  std::int64_t vocabulary() const { return vocabulary_; }
  // What is to be told of the folder once; "" nothing.
  const std::string& warning() const { return warning_; }
  // Over the contents of the shards of these sources: a run that goes on from a checkpoint needs
  // the same.
  std::string fingerprint(const std::vector<std::string>& sources) const;

 private:
  base::Path directory_;
  std::vector<Source> sources_;
  std::int64_t vocabulary_ = 0;
  std::string warning_;
};

}  // namespace eyrie::data_pipeline
