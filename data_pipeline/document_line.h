// The documents of one source laid end to end without end: all of them in the order of one
// permutation, then all again in the order of the next, epoch after epoch. Any piece of this line
// is found by binary search; nothing is stored but the order and the running sums of the epochs in
// use.
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

// Pieces of rows, as a batch has them.
struct RowPiece {
  std::span<std::int32_t> tokens, targets, positions;
  std::span<float> loss_mask;
};

// Thread-safe. `source` must live as long as this object.
class DocumentLine {
 public:
  // At least one document, none without tokens. Epoch e is ordered by order.permute(i, documents,
  // e).
  DocumentLine(const ShardSet::Source& source, std::vector<ShardSet::Document> documents,
               base::Philox order);

  std::int64_t documents() const { return static_cast<std::int64_t>(documents_.size()); }
  std::int64_t tokens() const { return tokens_; }  // of one epoch

  // Tokens [begin, begin + out.tokens.size()) of the line. Where the piece begins in the middle of
  // a document, that document counts as a new one: position 0. The target of a token is the next
  // token of its document, also where that lies behind the piece; a document's last token has none
  // (loss_mask 0, target 0).
  void read(std::int64_t begin, const RowPiece& out) const;

  // The line of epoch e as one text without borders: every token has a target, the next of the
  // epoch, and position t is the place in the piece. Tokens [begin, begin + out.tokens.size() + 1)
  // lie in the epoch.
  void read_window(std::int64_t epoch, std::int64_t begin, const RowPiece& out) const;

  // A place where a window of `length` tokens and one more begins, the same for the same row: all
  // that the epoch has are equally likely.
  std::int64_t window_begin(std::int64_t row, std::int64_t length) const;

  // How many of these tokens have a target.
  std::int64_t targets(std::int64_t begin, std::int64_t count) const;

 private:
  struct Epoch {
    std::int64_t number;
    std::vector<std::uint32_t> order;
    std::vector<std::int64_t> ends;  // where each document ends, in the epoch
  };
  std::shared_ptr<const Epoch> epoch(std::int64_t number) const;
  void copy(std::int64_t epoch, std::int64_t begin, std::span<std::int32_t> out) const;
  std::int64_t ends_before(
      std::int64_t position) const;  // documents that end at or before this place of the line

  const ShardSet::Source& source_;
  std::vector<ShardSet::Document> documents_;
  base::Philox order_;
  std::int64_t tokens_ = 0;
  mutable std::mutex mutex_;
  mutable std::vector<std::shared_ptr<const Epoch>> recent_;  // the newest last
};

}  // namespace eyrie::data_pipeline
