// The first half of a build: this rank's blocks of lines, each filtered, screened and tokenized
// into a part file of its own, so that a build that was stopped goes on.
#pragma once

#include <chrono>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/file.h"
#include "data_pipeline/data_config.h"
#include "data_pipeline/exclusion.h"
#include "data_pipeline/part.h"
#include "parallel/communicator.h"
#include "text/tokenizer.h"

namespace eyrie::data_pipeline {

struct BlockPlace {  // of a block
  std::int64_t source, file, block;
  auto operator<=>(const BlockPlace&) const = default;
};
struct Block {
  BlockPlace place;
  DocumentCounts counts;
};

constexpr std::int64_t kBlockBytes = 2 << 20;

base::Path part_path(const base::Path& parts, const DataConfig& config, const BlockPlace& place);

class PartMaker {
 public:
  // `parts`: the folder of the part files, which is there. `failed`: the mark of a rank that fails,
  // a path of this very start's own. What is given must outlive this.
  PartMaker(const DataConfig& config, const text::Tokenizer& tokenizer,
            const ExclusionIndex& exclusion, base::Path parts, base::Path failed,
            std::int64_t block_bytes, const parallel::Communicator& communicator);

  // The blocks that are dealt to this rank. A rank that fails leaves a mark that the others see at
  // their next block, so that a bad line ends the build within seconds.
  void run();

  // After run(): whether it ended early because of the mark. What was made is then not all.
  bool stopped() const { return stopped_; }
  // After run(): blocks of every file, in the order of the configuration, all ranks' together: the
  // same on every rank, unless files changed under the build or differ between nodes.
  const std::vector<std::int64_t>& block_counts() const { return block_counts_; }

  // After run(), once.
  std::vector<Block> take_blocks() { return std::move(blocks_); }
  std::vector<Findings> take_findings() { return std::move(findings_); }  // by source
  // The first of this rank, by source.
  std::vector<std::vector<BadLine>> take_bad_lines() { return std::move(bad_lines_); }

 private:
  bool mine(std::int64_t number) const {
    return number % communicator_.size() == communicator_.rank();
  }
  bool failed_elsewhere();
  void read_blocks(std::int64_t source, std::int64_t file, std::int64_t file_number);
  void read_whole(std::int64_t source, std::int64_t file, std::int64_t file_number);
  void report_progress(const SourceConfig& source, std::uint64_t consumed);
  void keep(const BlockPlace& place, const Part& part);

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
