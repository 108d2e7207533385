// The documents of one source as an endless sequence of tokens: epoch after epoch, each with all
// documents in its own random order. Any range of tokens is found by binary search. Only the orders
// and running token counts of the epochs in use are stored.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string_view>
#include <vector>

#include "base/philox.h"
#include "data_pipeline/shard_set.h"

namespace eyrie::data_pipeline {

// Slices of one row of a batch.
struct RowView {
  std::span<std::int32_t> tokens, targets, positions;
  std::span<float> loss_mask;
};

// Thread-safe. `source` must outlive this object.
class EpochTokenStream {
 public:
  // There must be at least one document, and none without tokens. Document i of epoch e is
  // documents[order.permute(i, documents, e)].
  EpochTokenStream(const ShardSet::Source& source, std::vector<ShardSet::Document> documents,
                   base::Philox order);

  std::int64_t documents() const { return static_cast<std::int64_t>(documents_.size()); }
  std::int64_t tokens() const { return tokens_; }  // per epoch

  // Which documents tokens [begin, begin + count) of the sequence are from, in their order.
  struct Piece {
    ShardSet::Document document;
    std::int64_t first = 0;  // the document's token that the piece begins with
    std::int64_t at = 0;     // where it lies in the range
    std::int64_t count = 0;  // of tokens
    bool ends = false;       // with the document's last token
  };
  std::vector<Piece> pieces(std::int64_t begin, std::int64_t count) const;
  const ShardSet::Source& source() const { return source_; }

  // Reads tokens [begin, begin + out.tokens.size()) of the sequence. A document that begins before
  // `begin` is treated as a new one: its positions start at 0. The target of a token is the next
  // token of its document, even if that lies beyond the range. The last token of a document has no
  // target (loss_mask 0, target 0).
  void read(std::int64_t begin, const RowView& out) const;

  // Reads from epoch `epoch` as one text without document boundaries: every token has the next
  // token as its target, and positions count from the start of the window. Tokens [begin, begin +
  // out.tokens.size() + 1) must lie inside the epoch.
  void read_window(std::int64_t epoch, std::int64_t begin, const RowView& out) const;

  // Returns where the window of row `row` begins, drawn uniformly from all places of an epoch where
  // `length` + 1 tokens fit. The same row always gives the same place.
  std::int64_t window_begin(std::int64_t row, std::int64_t length) const;

  // Returns how many of the tokens [begin, begin + count) have a target.
  std::int64_t targets(std::int64_t begin, std::int64_t count) const;

 private:
  struct Epoch {
    std::int64_t number;
    std::vector<std::uint32_t> order;
    std::vector<std::int64_t> ends;  // the end of each document, in tokens from the epoch's start
  };
  std::shared_ptr<const Epoch> epoch(std::int64_t number) const;
  void copy(std::int64_t epoch, std::int64_t begin, std::span<std::int32_t> out) const;
  // Returns how many documents end at or before this position of the sequence.
  std::int64_t ends_before(std::int64_t position) const;

  const ShardSet::Source& source_;
  std::vector<ShardSet::Document> documents_;
  base::Philox order_;
  std::int64_t tokens_ = 0;
  mutable std::mutex mutex_;
  mutable std::vector<std::shared_ptr<const Epoch>> recent_;  // newest last
};

}  // namespace eyrie::data_pipeline
