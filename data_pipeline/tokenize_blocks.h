// The first half of a build: filters, screens and tokenizes this rank's blocks of lines. Each block
// becomes a part file of its own, so that a stopped build can be continued.
#pragma once

#include <chrono>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/file.h"
#include "data_pipeline/data_config.h"
#include "data_pipeline/exclusion.h"
#include "data_pipeline/tokenized_block.h"
#include "parallel/communication/communicator.h"
#include "text/tokenizer.h"

namespace eyrie::data_pipeline {

// Identifies a block.
struct BlockPlace {
  std::int64_t source, file, block;
  auto operator<=>(const BlockPlace&) const = default;
};
struct Block {
  BlockPlace place;
  DocumentCounts counts;
};

constexpr std::int64_t kBlockBytes = 2 << 20;

base::Path tokenized_block_path(const base::Path& parts, const DataConfig& config,
                                const BlockPlace& place);

class BlockTokenizer {
 public:
  // `parts` is the folder for part files, which must exist. `failed` is the path at which a failing
  // rank leaves a mark; it must be unique to this start of the build. Everything passed by
  // reference must outlive this object.
  BlockTokenizer(const DataConfig& config, const text::Tokenizer& tokenizer,
                 const ExclusionIndex& exclusion, base::Path parts, base::Path failed,
                 std::int64_t block_bytes, const parallel::Communicator& communicator);

  // Processes the blocks that are dealt to this rank. A rank that fails leaves a mark, which the
  // others see at their next block, so that a bad line ends the build within seconds.
  void run();

  // After run(): whether it ended early because of such a mark, so that its results are incomplete.
  bool stopped() const { return stopped_; }
  // After run(): the number of blocks of every file over all ranks, in the order of the
  // configuration. The same on every rank, unless files changed during the build or differ between
  // nodes.
  const std::vector<std::int64_t>& block_counts() const { return block_counts_; }

  // After run(), at most once.
  std::vector<Block> take_blocks() { return std::move(blocks_); }
  std::vector<Findings> take_findings() { return std::move(findings_); }  // by source
  // The first bad lines that this rank found, by source.
  std::vector<std::vector<BadLine>> take_bad_lines() { return std::move(bad_lines_); }

 private:
  bool mine(std::int64_t number) const {
    return number % communicator_.size() == communicator_.rank();
  }
  bool failed_elsewhere();
  void read_blocks(std::int64_t source, std::int64_t file, std::int64_t file_number);
  void read_whole(std::int64_t source, std::int64_t file, std::int64_t file_number);
  void report_progress(const SourceConfig& source, std::uint64_t consumed);
  void keep(const BlockPlace& place, const TokenizedBlock& part);

  const DataConfig& config_;
  const text::Tokenizer& tokenizer_;
  const ExclusionIndex& exclusion_;
  base::Path parts_, failed_;
  bool stopped_ = false;
  std::vector<std::int64_t> block_counts_;
  std::int64_t block_bytes_;
  const parallel::Communicator& communicator_;
  std::vector<Block> blocks_;
  std::vector<Findings> findings_;
  std::vector<std::vector<BadLine>> bad_lines_;
  std::uint64_t total_bytes_ = 0, read_bytes_ = 0;
  std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
  std::chrono::steady_clock::time_point last_report_ = started_;
};

}  // namespace eyrie::data_pipeline
