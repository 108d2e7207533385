// Turns blocks of lines into part files.
#include "data_pipeline/tokenize_blocks.h"

#include <fmt/format.h>

#include <optional>
#include <string_view>
#include <utility>

#include "base/listing.h"
#include "base/log.h"
#include "data_pipeline/block_builder.h"
#include "data_pipeline/documents.h"

namespace eyrie::data_pipeline {

namespace fs = std::filesystem;

base::Path tokenized_block_path(const base::Path& parts, const DataConfig& config,
                                const BlockPlace& place) {
  return parts /
         fmt::format("{}-{:05}-{:06}", config.sources[place.source].name, place.file, place.block);
}

BlockTokenizer::BlockTokenizer(const DataConfig& config, const text::Tokenizer& tokenizer,
                               const ExclusionIndex& exclusion, base::Path parts, base::Path failed,
                               std::int64_t block_bytes, const parallel::Communicator& communicator)
    : config_(config),
      tokenizer_(tokenizer),
      exclusion_(exclusion),
      parts_(std::move(parts)),
      failed_(std::move(failed)),
      block_bytes_(block_bytes),
      communicator_(communicator),
      findings_(config.sources.size(), Findings(exclusion.groups().size())),
      bad_lines_(config.sources.size()) {}

bool BlockTokenizer::failed_elsewhere() { return stopped_ = stopped_ || base::is_there(failed_); }

void BlockTokenizer::run() {
  try {
    for (std::size_t s = 0; s < config_.sources.size(); ++s)
      for (const base::Path& file : config_.sources[s].files)
        total_bytes_ += base::bytes_of_file(file);
    std::int64_t number = 0;
    for (std::size_t s = 0; s < config_.sources.size(); ++s)
      for (std::size_t f = 0; f < config_.sources[s].files.size(); ++f) {
        if (failed_elsewhere()) return;
        if (config_.sources[s].format == Format::kText) {
          read_whole(s, f, number++);
        } else {
          read_blocks(s, f, number++);
        }
      }
  } catch (...) {
    std::error_code ignored;
    fs::create_directory(failed_, ignored);
    throw;
  }
}

void BlockTokenizer::read_blocks(std::int64_t source, std::int64_t file, std::int64_t file_number) {
  const SourceConfig& config = config_.sources[source];
  const base::Path& path = config.files[file];
  LineReader lines(path, config_.largest_document);
  BlockBuilder builder(config, tokenizer_, exclusion_, config_.validation, config_.largest_piece);
  BlockPlace place{source, file, 0};
  std::int64_t bytes = 0;
  bool in_block = false;
  // Empty in a block of another rank, or one that was made before.
  std::optional<TokenizedBlock> part;
  const auto end_block = [&] {
    if (part) {
      write_tokenized_block(tokenized_block_path(parts_, config_, place), *part);
      keep(place, *part);
    }
    part.reset();
    in_block = false;
    ++place.block;
    bytes = 0;
    report_progress(config, lines.consumed());
  };
  for (std::string_view line; lines.next(line);) {
    if (!in_block) {
      if (failed_elsewhere()) return;
      in_block = true;
      if (mine(file_number + place.block)) {
        const std::optional<TokenizedBlock> made =
            read_tokenized_block(tokenized_block_path(parts_, config_, place));
        if (made) {
          keep(place, *made);
        } else {
          part.emplace();
        }
      }
    }
    if (part) builder.add_line(line, path, lines.number(), lines.problem(), *part);
    bytes += static_cast<std::int64_t>(line.size()) + 1;
    if (bytes >= block_bytes_) end_block();
  }
  if (in_block) end_block();
  block_counts_.push_back(place.block);
  read_bytes_ += base::bytes_of_file(path);
}

// A plain-text file is one block, whatever its size.
void BlockTokenizer::read_whole(std::int64_t source, std::int64_t file, std::int64_t file_number) {
  const SourceConfig& config = config_.sources[source];
  const base::Path& path = config.files[file];
  const BlockPlace place{source, file, 0};
  if (mine(file_number)) {
    std::optional<TokenizedBlock> part =
        read_tokenized_block(tokenized_block_path(parts_, config_, place));
    if (!part) {
      BlockBuilder builder(config, tokenizer_, exclusion_, config_.validation,
                           config_.largest_piece);
      std::string problem;
      const std::string text = read_text(path, config_.largest_document, problem);
      builder.add_text(text, path, problem, part.emplace());
      write_tokenized_block(tokenized_block_path(parts_, config_, place), *part);
    }
    keep(place, *part);
  }
  block_counts_.push_back(1);
  read_bytes_ += base::bytes_of_file(path);
  report_progress(config, 0);
}

void BlockTokenizer::report_progress(const SourceConfig& source, std::uint64_t consumed) {
  const auto now = std::chrono::steady_clock::now();
  if (communicator_.rank() != 0 || now - last_report_ < std::chrono::seconds(2)) return;
  last_report_ = now;
  const double share =
      total_bytes_ == 0 ? 1 : static_cast<double>(read_bytes_ + consumed) / total_bytes_;
  const double seconds = std::chrono::duration<double>(now - started_).count();
  base::log_info(fmt::format("data build: {:.0f} % of {:.1f} MB, in {}, {:.0f} s left", 100 * share,
                             total_bytes_ / 1e6, source.name, seconds * (1 - share) / share));
}

// Keeps the counts and findings of a part, for the summary; its documents stay in its file.
void BlockTokenizer::keep(const BlockPlace& place, const TokenizedBlock& part) {
  blocks_.push_back({place, part.counts});
  std::vector<BadLine>& bad_lines = bad_lines_[place.source];
  for (BadLine bad : part.bad_lines) {
    if (bad_lines.size() == kNamedBadLines) break;
    bad.file = config_.sources[place.source].files[place.file].string();
    bad_lines.push_back(std::move(bad));
  }
  Findings& findings = findings_[place.source];
  for (std::size_t g = 0; g < part.findings.size(); ++g) findings[g].add(part.findings[g]);
}

}  // namespace eyrie::data_pipeline
