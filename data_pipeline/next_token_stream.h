// Shards → mixture by weight → packed batches, which keep document boundaries or are windows on one
// long text. A batch is a pure function of (seed, stage, stage_step).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "data_pipeline/batch_stream.h"
#include "data_pipeline/mixture.h"

namespace eyrie::data_pipeline {

// How a row is cut from the concatenated documents of a source (docs/data.md).
enum class Packing {
  kDocuments,  // consecutive rows; documents stay apart
  kWindows     // rows begin at random places; the documents are one text
};

struct StreamConfig {
  // Source → weight. Weights are shares of the rows.
  std::vector<std::pair<std::string, double>> mixture;
  // The share of each source's training documents that is used: those with the highest score.
  double quality_fraction = 1;
  std::int64_t sequence_length = 0;  // tokens per row
  std::int64_t batch_sequences = 0;  // rows per step, over all ranks
  // Equal consecutive parts of a batch; must divide batch_sequences.
  std::int64_t micro_shards = 1;
  std::uint64_t seed = 0;
  std::string stage;  // the stage's name; the document order depends on it
  Packing packing = Packing::kDocuments;
};

class NextTokenStream : public BatchStream {
 public:
  // Throws InputError if a source is unknown, has no documents or too few tokens for a window, or
  // if the numbers of the configuration do not fit together.
  NextTokenStream(std::shared_ptr<const ShardSet> shards, StreamConfig config);

  NextTokenBatch rows_of(std::int64_t stage_step, std::int64_t micro_shard) const;
  Batch micro_shard(std::int64_t stage_step, std::int64_t micro_shard) const override {
    return rows_of(stage_step, micro_shard);
  }
  std::vector<RowOrigin> origins(std::int64_t stage_step, std::int64_t micro_shard) const override;
  std::int64_t target_count(std::int64_t stage_step) const override;
  std::int64_t tokens_per_step() const override {
    return config_.batch_sequences * config_.sequence_length;
  }
  // With windows: on average.
  std::vector<std::pair<std::string, double>> epochs(std::int64_t stage_steps) const override;
  const std::string& fingerprint() const override { return fingerprint_; }
  const ShardSet& shards() const override { return *shards_; }

 private:
  // The line that row `row` of the stage is read from, and where in it.
  struct RowPlace {
    const EpochTokenStream& line;
    std::int64_t begin;  // in the line's sequence
  };
  RowPlace place_of(std::int64_t row) const;

  std::shared_ptr<const ShardSet> shards_;
  StreamConfig config_;
  Mixture mixture_;
  // One per source of the mixture; null where the weight is 0.
  std::vector<std::unique_ptr<EpochTokenStream>> lines_;
  std::string fingerprint_;
};

// The held-out documents of each source as fixed rows, the same for every run, stage and step. Here
// windows follow one another, so that every token except the first is a target exactly once.
// Thread-safe.
class ValidationStream {
 public:
  ValidationStream(std::shared_ptr<const ShardSet> shards, std::int64_t sequence_length,
                   Packing packing = Packing::kDocuments);

  // The sources with held-out documents.
  const std::vector<std::string>& sources() const { return names_; }
  std::int64_t length() const { return length_; }  // tokens per row
  // Returns the number of rows; the last one may be padded.
  std::int64_t sequences(std::size_t source) const;
  // Returns rows [first, first + count) of the source. Padding is token 0 with positions from 0 on
  // and no targets.
  NextTokenBatch rows(std::size_t source, std::int64_t first, std::int64_t count) const;

 private:
  // Returns the number of tokens in all rows together, without padding.
  std::int64_t places(std::size_t source) const;

  std::shared_ptr<const ShardSet> shards_;
  std::int64_t length_;
  Packing packing_;
  std::vector<std::string> names_;
  std::vector<std::unique_ptr<EpochTokenStream>> lines_;
};

}  // namespace eyrie::data_pipeline
