// What a stage trains on: batches, of the kind that its objective takes.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "data_pipeline/epoch_token_stream.h"
#include "data_pipeline/shard_set.h"

namespace eyrie::data_pipeline {

// Rows of text, in which every token is to be predicted from those before it. All arrays have
// rows × length elements, in row-major order.
struct NextTokenBatch {
  std::int64_t rows = 0, length = 0;
  std::vector<std::int32_t> tokens;
  // The next token of the same document (or window); 0 where there is none.
  std::vector<std::int32_t> targets;
  // Positions in the document: 0 where it begins, or where it continues from an earlier row.
  std::vector<std::int32_t> positions;
  std::vector<float> loss_mask;  // 1; 0 at the last token of a document and in padding

  NextTokenBatch() = default;
  NextTokenBatch(std::int64_t rows, std::int64_t length);
  RowView row(std::int64_t r);
};

// A part of a row, and the document that it is from.
struct RowOrigin {
  std::int64_t row = 0, at = 0, count = 0;  // of the micro-shard; tokens of the row
  std::string source, shard;                // its name; the shard's file
  std::int64_t document = 0, first = 0;     // in the shard; the document's token it begins with
};

// One kind per objective.
using Batch = std::variant<NextTokenBatch>;

// Every micro-shard is a pure function of the stream's configuration and its number. There is no
// state, so any rank may ask for any micro-shard of any step, in any order. Thread-safe.
class BatchStream {
 public:
  virtual ~BatchStream() = default;
  virtual Batch micro_shard(std::int64_t stage_step, std::int64_t micro_shard) const = 0;
  // Where the rows of a micro-shard are from, in order.
  virtual std::vector<RowOrigin> origins(std::int64_t stage_step,
                                         std::int64_t micro_shard) const = 0;
  // Returns what the loss of the whole batch of this step is divided by, its number of targets,
  // without assembling it.
  virtual std::int64_t target_count(std::int64_t stage_step) const = 0;
  virtual std::int64_t tokens_per_step() const = 0;
  // Returns for each source how many times its documents have been seen after this many steps.
  virtual std::vector<std::pair<std::string, double>> epochs(std::int64_t stage_steps) const = 0;
  // A hash of the shards that the stream draws on.
  virtual const std::string& fingerprint() const = 0;
  virtual const ShardSet& shards() const = 0;
};

}  // namespace eyrie::data_pipeline
