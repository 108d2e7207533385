// The epochs of a source: their orders, running token counts, and reading across their boundaries.
#include "data_pipeline/epoch_token_stream.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"

namespace eyrie::data_pipeline {
namespace {

constexpr std::size_t kRecentEpochs = 2;  // a row may cross an epoch boundary

std::int64_t length_of(const ShardSet::Source& source, const ShardSet::Document& d) {
  const Shard& shard = source.shards[d.shard];
  return shard.offset(d.document + 1) - shard.offset(d.document);
}

}  // namespace

EpochTokenStream::EpochTokenStream(const ShardSet::Source& source,
                                   std::vector<ShardSet::Document> documents, base::Philox order)
    : source_(source), documents_(std::move(documents)), order_(order) {
  EYRIE_CHECK(!documents_.empty(), "a line without documents");
  for (const ShardSet::Document& d : documents_) tokens_ += length_of(source_, d);
}

std::shared_ptr<const EpochTokenStream::Epoch> EpochTokenStream::epoch(std::int64_t number) const {
  const std::lock_guard lock(mutex_);
  for (const auto& known : recent_)
    if (known->number == number) return known;
  auto made = std::make_shared<Epoch>();
  made->number = number;
  made->order.resize(documents_.size());
  made->ends.resize(documents_.size());
  std::int64_t end = 0;
  for (std::size_t i = 0; i < documents_.size(); ++i) {
    const std::uint64_t document =
        order_.permute(i, documents_.size(), static_cast<std::uint64_t>(number));
    made->order[i] = static_cast<std::uint32_t>(document);
    made->ends[i] = end += length_of(source_, documents_[document]);
  }
  if (recent_.size() == kRecentEpochs) recent_.erase(recent_.begin());
  recent_.push_back(made);
  return made;
}

std::vector<EpochTokenStream::Piece> EpochTokenStream::pieces(std::int64_t begin,
                                                              std::int64_t count) const {
  std::vector<Piece> pieces;
  for (std::int64_t done = 0; done < count;) {
    const std::int64_t place = (begin + done) % tokens_;
    const auto epoch = this->epoch((begin + done) / tokens_);
    const auto i =
        std::upper_bound(epoch->ends.begin(), epoch->ends.end(), place) - epoch->ends.begin();
    const ShardSet::Document& document = documents_[epoch->order[i]];
    const std::int64_t left = epoch->ends[i] - place;  // tokens left in the document
    const std::int64_t taken = std::min(left, count - done);
    pieces.push_back({document, length_of(source_, document) - left, done, taken, taken == left});
    done += taken;
  }
  return pieces;
}

void EpochTokenStream::read(std::int64_t begin, const RowView& out) const {
  for (const Piece& piece : pieces(begin, static_cast<std::int64_t>(out.tokens.size()))) {
    const auto [document, first, at, count, ends] = piece;
    const Shard& shard = source_.shards[document.shard];
    const std::int64_t from = shard.offset(document.document) + first;
    shard.read(from, out.tokens.subspan(at, count));
    shard.read(from + 1, out.targets.subspan(at, ends ? count - 1 : count));
    std::fill_n(out.loss_mask.begin() + at, count, 1.0f);
    if (ends) {
      out.targets[at + count - 1] = 0;
      out.loss_mask[at + count - 1] = 0;
    }
    std::iota(out.positions.begin() + at, out.positions.begin() + at + count, 0);
  }
}

void EpochTokenStream::copy(std::int64_t number, std::int64_t begin,
                            std::span<std::int32_t> out) const {
  const auto epoch = this->epoch(number);
  auto i = static_cast<std::size_t>(
      std::upper_bound(epoch->ends.begin(), epoch->ends.end(), begin) - epoch->ends.begin());
  for (std::size_t done = 0; done < out.size(); ++i) {
    const ShardSet::Document& d = documents_[epoch->order[i]];
    const std::int64_t left = epoch->ends[i] - (begin + static_cast<std::int64_t>(done));
    const auto count = std::min(static_cast<std::size_t>(left), out.size() - done);
    const Shard& shard = source_.shards[d.shard];
    shard.read(shard.offset(d.document + 1) - left, out.subspan(done, count));
    done += count;
  }
}

void EpochTokenStream::read_window(std::int64_t epoch, std::int64_t begin,
                                   const RowView& out) const {
  EYRIE_CHECK(begin >= 0 && begin + static_cast<std::int64_t>(out.tokens.size()) < tokens_,
              "a window that does not lie in the text");
  copy(epoch, begin, out.tokens);
  copy(epoch, begin + 1, out.targets);
  std::iota(out.positions.begin(), out.positions.end(), 0);
  std::fill(out.loss_mask.begin(), out.loss_mask.end(), 1.0f);
}

std::int64_t EpochTokenStream::window_begin(std::int64_t row, std::int64_t length) const {
  const double places = static_cast<double>(tokens_ - length);
  return static_cast<std::int64_t>(order_.uniform(static_cast<std::uint64_t>(row)) * places);
}

std::int64_t EpochTokenStream::ends_before(std::int64_t position) const {
  const std::int64_t place = position % tokens_;
  const std::int64_t whole = position / tokens_ * documents();
  if (place == 0) return whole;
  const auto epoch = this->epoch(position / tokens_);
  return whole +
         (std::upper_bound(epoch->ends.begin(), epoch->ends.end(), place) - epoch->ends.begin());
}

std::int64_t EpochTokenStream::targets(std::int64_t begin, std::int64_t count) const {
  return count - (ends_before(begin + count) - ends_before(begin));
}

}  // namespace eyrie::data_pipeline
