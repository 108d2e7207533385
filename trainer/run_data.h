// The data of a run: tokenizer, batches and held-out sequences of every stage.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "data_pipeline/next_token_stream.h"
#include "text/tokenizer.h"
#include "trainer/objectives/objective.h"
#include "trainer/run_config.h"

namespace eyrie::trainer {

struct RunData {
  std::shared_ptr<const text::Tokenizer> tokenizer;
  std::vector<std::unique_ptr<data_pipeline::BatchStream>> streams;        // by stage
  std::vector<std::unique_ptr<Objective>> objectives;                      // by stage
  std::vector<std::unique_ptr<data_pipeline::ValidationStream>> held_out;  // by stage

  std::vector<std::string> warnings;  // to be logged once

  std::vector<std::string> fingerprints() const;               // of the streams
  std::vector<const data_pipeline::ShardSet*> shards() const;  // by stage
};

// Throws InputError if shards are missing, damaged, of another tokenizer, or not screened for a
// task that any stage evaluates; if tasks are unknown or lack files; or if the tokenizer is larger
// than the model's vocabulary.
// `local_shards`: where this node has its copies of the shards (data_pipeline/local_copy.h); empty:
// they are read where they are.
RunData open_run_data(const RunConfig& run, const base::Path& local_shards = {});

}  // namespace eyrie::trainer
