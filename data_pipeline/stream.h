// Shards → mixture by weight → packed batches, which keep document borders or are windows on one
// long text. A batch is a pure function of (seed, stage, stage_step): no state, so any rank may ask
// for any micro-shard of any step, in any order.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "data_pipeline/document_line.h"
#include "data_pipeline/mixture.h"
#include "data_pipeline/shard_set.h"

namespace eyrie::data_pipeline {

// All arrays have rows × length elements, row after row.
struct Batch {
  std::int64_t rows = 0, length = 0;
  std::vector<std::int32_t> tokens;
  std::vector<std::int32_t>
      targets;  // the next token of the same document (or window); 0 where there is none
  std::vector<std::int32_t>
      positions;  // in the document; 0 where one begins, or goes on from an earlier row
  std::vector<float> loss_mask;  // 1; 0 at a document's last token, and in padding

  Batch() = default;
  Batch(std::int64_t rows, std::int64_t length);
  RowPiece row(std::int64_t r);
};

// How a row is cut from a source's documents, laid end to end (docs/data.md).
enum class Packing {
  kDocuments,  // rows follow one another; documents are kept apart
  kWindows     // rows begin anywhere; the documents are one text
};

struct StreamConfig {
  std::vector<std::pair<std::string, double>> mixture;  // source → weight; weights count rows
  double best = 1;  // the share of each source's training documents with the highest quality score
  std::int64_t sequence_length = 0;  // tokens a row
  std::int64_t batch_sequences = 0;  // rows a step, over all ranks
  std::int64_t micro_shards = 1;  // equal pieces of a batch, in order; they divide batch_sequences
  std::uint64_t seed = 0;
  std::string stage;  // its name; another stage has another order
  Packing packing = Packing::kDocuments;
};

// Thread-safe.
class BatchStream {
 public:
  // InputError: an unknown source, one without documents or with too few tokens for a window,
  // numbers that do not fit.
  BatchStream(std::shared_ptr<const ShardSet> shards, StreamConfig config);

  Batch micro_shard(std::int64_t stage_step, std::int64_t micro_shard) const;
  // Tokens with a target in the whole batch of this step, without assembling it.
  std::int64_t target_count(std::int64_t stage_step) const;
  std::int64_t tokens_per_step() const { return config_.batch_sequences * config_.sequence_length; }
  // By source: how often its documents have been seen when this many steps are done (windows: on
  // average).
  std::vector<std::pair<std::string, double>> epochs(std::int64_t stage_steps) const;
  // Of the shards that the mixture draws on.
  const std::string& fingerprint() const { return fingerprint_; }
  const ShardSet& shards() const { return *shards_; }

 private:
  std::shared_ptr<const ShardSet> shards_;
  StreamConfig config_;
  Mixture mixture_;
  std::vector<std::unique_ptr<DocumentLine>>
      lines_;  // as in the mixture; none where the weight is 0
  std::string fingerprint_;
};

// The documents that are held out, as fixed rows a source: the same for every run, stage and step.
// Windows follow one another here, so that every token but the first is a target once. Thread-safe.
class ValidationStream {
 public:
  ValidationStream(std::shared_ptr<const ShardSet> shards, std::int64_t sequence_length,
                   Packing packing = Packing::kDocuments);

  const std::vector<std::string>& sources() const {
    return names_;
  }                                                  // those with held-out documents
  std::int64_t length() const { return length_; }    // tokens a row
  std::int64_t sequences(std::size_t source) const;  // rows there are; the last may be padded
  // Rows [first, first + count) of the source. Padding is token 0 from position 0 on, without
  // targets.
  Batch rows(std::size_t source, std::int64_t first, std::int64_t count) const;

 private:
  std::int64_t places(std::size_t source) const;  // of all rows together, without padding

  std::shared_ptr<const ShardSet> shards_;
  std::int64_t length_;
  Packing packing_;
  std::vector<std::string> names_;
  std::vector<std::unique_ptr<DocumentLine>> lines_;
};

}  // namespace eyrie::data_pipeline
