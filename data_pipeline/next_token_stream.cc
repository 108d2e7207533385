// Training and validation batches.
#include "data_pipeline/next_token_stream.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"

namespace eyrie::data_pipeline {
namespace {

std::vector<double> weights_of(const StreamConfig& config) {
  std::vector<double> weights;
  for (const auto& [source, weight] : config.mixture) weights.push_back(weight);
  return weights;
}

// Returns the share of the documents with the highest score, at least one, in their old order. Ties
// are broken by hash, then by position.
std::vector<ShardSet::Document> documents_of_quality(const ShardSet::Source& source, double share) {
  std::vector<ShardSet::Document> documents = source.training;
  if (share >= 1) return documents;
  const auto wanted = static_cast<std::size_t>(
      std::max(1.0, std::ceil(share * static_cast<double>(documents.size()))));
  const auto key = [&](const ShardSet::Document& d) {
    const Shard& shard = source.shards[d.shard];
    return std::tuple(-shard.quality(d.document), shard.hash(d.document), d.shard, d.document);
  };
  std::sort(documents.begin(), documents.end(),
            [&](const auto& a, const auto& b) { return key(a) < key(b); });
  documents.resize(std::min(wanted, documents.size()));
  std::sort(documents.begin(), documents.end(), [](const auto& a, const auto& b) {
    return std::pair(a.shard, a.document) < std::pair(b.shard, b.document);
  });
  return documents;
}

}  // namespace

NextTokenBatch::NextTokenBatch(std::int64_t rows_, std::int64_t length_)
    : rows(rows_),
      length(length_),
      tokens(rows_ * length_),
      targets(rows_ * length_),
      positions(rows_ * length_),
      loss_mask(rows_ * length_) {}

RowView NextTokenBatch::row(std::int64_t r) {
  return {std::span(tokens).subspan(r * length, length),
          std::span(targets).subspan(r * length, length),
          std::span(positions).subspan(r * length, length),
          std::span(loss_mask).subspan(r * length, length)};
}

NextTokenStream::NextTokenStream(std::shared_ptr<const ShardSet> shards, StreamConfig config)
    : shards_(std::move(shards)), config_(std::move(config)), mixture_(weights_of(config_)) {
  const auto refuse = [&](const std::string& what) {
    return base::InputError(fmt::format("stage {}: {}", config_.stage, what));
  };
  if (config_.sequence_length < 1 || config_.batch_sequences < 1 || config_.micro_shards < 1)
    throw refuse(
        fmt::format("sequence_length {}, batch_sequences {} and micro_shards {} must be at least 1",
                    config_.sequence_length, config_.batch_sequences, config_.micro_shards));
  if (config_.batch_sequences % config_.micro_shards != 0)
    throw refuse(fmt::format("micro_shards {} does not divide batch_sequences {}",
                             config_.micro_shards, config_.batch_sequences));
  if (!(config_.quality_fraction > 0 && config_.quality_fraction <= 1))
    throw refuse(
        fmt::format("best {} is not a share: above 0, at most 1", config_.quality_fraction));
  std::vector<std::string> used;
  for (const auto& [name, weight] : config_.mixture) {
    const ShardSet::Source& source = shards_->source(name);
    lines_.emplace_back();
    if (weight == 0) continue;
    if (source.training.empty())
      throw refuse(fmt::format(
          "source {} in {} has no documents to train on: give it weight 0, or build it again", name,
          shards_->directory().string()));
    lines_.back() = std::make_unique<EpochTokenStream>(
        source, documents_of_quality(source, config_.quality_fraction),
        base::Philox(config_.seed, fmt::format("data order {} {}", config_.stage, name)));
    if (config_.packing == Packing::kWindows && lines_.back()->tokens() <= config_.sequence_length)
      throw refuse(fmt::format(
          "source {} in {} has {} tokens to train on; a window of {} and its last target need {}: "
          "lower sequence_length, or add text",
          name, shards_->directory().string(), lines_.back()->tokens(), config_.sequence_length,
          config_.sequence_length + 1));
    used.push_back(name);
  }
  fingerprint_ = shards_->fingerprint(used);
}

NextTokenStream::RowPlace NextTokenStream::place_of(std::int64_t row) const {
  const Mixture::Place place = mixture_.row(row);
  const EpochTokenStream& line = *lines_[place.source];
  const std::int64_t length = config_.sequence_length, so_far = place.index * length;
  if (config_.packing != Packing::kWindows) return {line, so_far};
  return {line, so_far / line.tokens() * line.tokens() + line.window_begin(place.index, length)};
}

NextTokenBatch NextTokenStream::rows_of(std::int64_t stage_step, std::int64_t micro_shard) const {
  EYRIE_CHECK(stage_step >= 0 && micro_shard >= 0 && micro_shard < config_.micro_shards,
              "a micro-shard that does not exist");
  NextTokenBatch batch(config_.batch_sequences / config_.micro_shards, config_.sequence_length);
  const std::int64_t first = stage_step * config_.batch_sequences + micro_shard * batch.rows;
  for (std::int64_t r = 0; r < batch.rows; ++r) {
    const auto [line, begin] = place_of(first + r);
    if (config_.packing == Packing::kWindows) {
      line.read_window(begin / line.tokens(), begin % line.tokens(), batch.row(r));
    } else {
      line.read(begin, batch.row(r));
    }
  }
  return batch;
}

std::vector<RowOrigin> NextTokenStream::origins(std::int64_t stage_step,
                                                std::int64_t micro_shard) const {
  const std::int64_t rows = config_.batch_sequences / config_.micro_shards;
  const std::int64_t first = stage_step * config_.batch_sequences + micro_shard * rows;
  std::vector<RowOrigin> origins;
  for (std::int64_t r = 0; r < rows; ++r) {
    const auto [line, begin] = place_of(first + r);
    for (const EpochTokenStream::Piece& piece : line.pieces(begin, config_.sequence_length)) {
      const Shard& shard = line.source().shards[piece.document.shard];
      origins.push_back({r, piece.at, piece.count, line.source().name, shard.path().string(),
                         piece.document.document, piece.first});
    }
  }
  return origins;
}

std::int64_t NextTokenStream::target_count(std::int64_t stage_step) const {
  if (config_.packing == Packing::kWindows) return tokens_per_step();
  std::int64_t count = 0;
  for (std::int64_t r = 0; r < config_.batch_sequences; ++r) {
    const Mixture::Place place = mixture_.row(stage_step * config_.batch_sequences + r);
    count += lines_[place.source]->targets(place.index * config_.sequence_length,
                                           config_.sequence_length);
  }
  return count;
}

std::vector<std::pair<std::string, double>> NextTokenStream::epochs(
    std::int64_t stage_steps) const {
  std::vector<std::pair<std::string, double>> result;
  for (std::size_t s = 0; s < lines_.size(); ++s) {
    if (!lines_[s]) continue;
    const std::int64_t rows = mixture_.given(s, stage_steps * config_.batch_sequences);
    result.emplace_back(config_.mixture[s].first,
                        static_cast<double>(rows * config_.sequence_length) /
                            static_cast<double>(lines_[s]->tokens()));
  }
  return result;
}

ValidationStream::ValidationStream(std::shared_ptr<const ShardSet> shards,
                                   std::int64_t sequence_length, Packing packing)
    : shards_(std::move(shards)), length_(sequence_length), packing_(packing) {
  EYRIE_CHECK(length_ >= 1, "rows without tokens");
  for (const ShardSet::Source& source : shards_->sources()) {
    if (source.validation.empty()) continue;
    names_.push_back(source.name);
    lines_.push_back(std::make_unique<EpochTokenStream>(
        source, source.validation, base::Philox(0, "validation order " + source.name)));
  }
}

// With windows, the last token of the text is only a target.
std::int64_t ValidationStream::places(std::size_t source) const {
  return lines_.at(source)->tokens() - (packing_ == Packing::kWindows ? 1 : 0);
}

std::int64_t ValidationStream::sequences(std::size_t source) const {
  return (places(source) + length_ - 1) / length_;
}

NextTokenBatch ValidationStream::rows(std::size_t source, std::int64_t first,
                                      std::int64_t count) const {
  EYRIE_CHECK(first >= 0 && count >= 0 && first + count <= sequences(source),
              "validation rows that do not exist");
  NextTokenBatch batch(count, length_);
  for (std::int64_t r = 0; r < count; ++r) {
    const std::int64_t begin = (first + r) * length_;
    const std::int64_t there = std::min(length_, places(source) - begin);
    const RowView row = batch.row(r);
    const RowView filled{row.tokens.first(there), row.targets.first(there),
                         row.positions.first(there), row.loss_mask.first(there)};
    if (packing_ == Packing::kWindows) {
      lines_[source]->read_window(0, begin, filled);
    } else {
      lines_[source]->read(begin, filled);
    }
    std::iota(row.positions.begin() + there, row.positions.end(), 0);
  }
  return batch;
}

}  // namespace eyrie::data_pipeline
