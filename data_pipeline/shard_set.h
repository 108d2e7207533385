// A folder of finished shards, opened for a run, with all checks that a run needs before its first
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

// What a run requires of its data.
struct DataNeeds {
  std::string tokenizer_file, tokenizer_hash;  // the run's tokenizer
  std::vector<std::string> tasks = {};  // groups or leaf tasks that it evaluates in any stage
  // The leaf tasks of each group, if known. Data that was screened for all of them may be used with
  // the group.
  std::map<std::string, std::vector<std::string>> leaf_tasks = {};
  // Content hashes of the documents that the run evaluates or draws shots from, by leaf task and
  // split.
  text::TaskContents contents = {};
  std::int64_t vocabulary = 0;  // size of the run's tokenizer; 0: not compared
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
    // In the order of the shards; documents without tokens are left out.
    std::vector<Document> training, validation;
  };

  // Throws InputError if the folder has no finished build; if a shard is missing, cut off, damaged,
  // from another build, not named by dataset.json, or different from what dataset.json says about
  // it; if the tokenizer (the message has both hashes and files) or the vocabulary differs from the
  // run's; or if the data was not screened for a task that the run evaluates (the message has task
  // and file), or was screened for another edition of that task.
  // `copy`: where the files are read from, if not there (local_copy.h).
  static std::shared_ptr<const ShardSet> open(const base::Path& shards, const DataNeeds& needs,
                                              const base::Path& copy = {});

  const base::Path& directory() const { return directory_; }
  const std::vector<Source>& sources() const { return sources_; }
  const Source& source(const std::string& name) const;  // InputError names the known ones
  std::int64_t vocabulary() const { return vocabulary_; }
  // A warning about the folder, to be logged once; "" if there is none.
  const std::string& warning() const { return warning_; }
  // A hash of the shards of these sources. A run that resumes from a checkpoint must have the same.
  std::string fingerprint(const std::vector<std::string>& sources) const;

 private:
  base::Path directory_;
  std::vector<Source> sources_;
  std::int64_t vocabulary_ = 0;
  std::string warning_;
};

}  // namespace eyrie::data_pipeline
