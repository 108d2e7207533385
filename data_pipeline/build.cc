// The build: blocks of lines become part files, parts become shards, then dataset.json is written.
#include "data_pipeline/build.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/error.h"
#include "base/hash.h"
#include "base/listing.h"
#include "base/log.h"
#include "base/output_place.h"
#include "base/owner.h"
#include "base/process_name.h"
#include "data_pipeline/build_identity.h"
#include "data_pipeline/documents.h"
#include "data_pipeline/exclusion.h"
#include "data_pipeline/gather_blocks.h"
#include "data_pipeline/shard.h"
#include "data_pipeline/tokenize_blocks.h"
#include "data_pipeline/tokenized_block.h"
#include "parallel/communication/same.h"
#include "text/tokenizer.h"

namespace eyrie::data_pipeline {
namespace {

class Builder {
 public:
  Builder(const DataConfig& config, const text::TaskPlaces& places,
          parallel::Communicator& communicator)
      : config_(config), places_(places), communicator_(communicator) {}

  Dataset run() {
    parallel::agree(communicator_, [&] { prepare(); });
    parallel::Facts facts;
    parallel::agree(communicator_, [&] {
      if (communicator_.size() > 1) facts = build_facts(config_, *tokenizer_, exclusion_);
    });
    parallel::check_same(communicator_, facts);
    name_build();
    if (is_finished()) return finished();
    own();
    if (is_finished()) return finished();  // the previous owner may have finished it
    parallel::agree(communicator_, [&] {
      if (first()) clean_up();
    });
    tokenize_blocks();
    plan_shards();
    check_sources();
    parallel::agree(communicator_, [&] { write_shards(); });
    summarise();
    parallel::agree(communicator_, [&] {
      if (first()) finish();
    });
    communicator_.barrier();
    return dataset_;
  }

 private:
  // The plan of a shard: blocks [begin, end).
  struct Plan {
    std::int64_t source, index;
    std::size_t begin, end;
    std::int64_t tokens;
  };

  bool mine(std::int64_t number) const {
    return number % communicator_.size() == communicator_.rank();
  }
  bool first() const { return communicator_.rank() == 0; }

  Dataset finished() {
    if (first())
      base::log_info(fmt::format("{} holds these shards already", config_.output.string()));
    Dataset there;
    parallel::agree(communicator_, [&] {
      there = read_dataset(config_.output);
      if (there.contents == dataset_.contents) return;
      there.contents = dataset_.contents;  // the same items, because `build` is equal
      if (first()) write_dataset(config_.output, there);
    });
    return there;
  }

  // Makes this job the owner of the output folder, so that only one job at a time writes to it.
  void own() {
    const auto processes = communicator_.gather(base::to_line(base::this_process()), 0);
    parallel::agree(communicator_, [&] {
      if (!first()) return;
      owner_ = std::make_unique<base::FolderOwner>(
          config_.output, base::OwnerOptions{.what = "these shards",
                                             .instead = "to build beside it, set another output",
                                             .processes = processes});
    });
    owner_mark_ = communicator_.all_gather(first() ? owner_->mark() : "")[0];
    parallel::agree(communicator_, [&] { base::see_owner(config_.output, owner_mark_); });
  }

  void check_owner() const { base::check_owner(config_.output, owner_mark_); }

  // The name of a failing rank's mark contains the owner's name, so that a mark left by an earlier
  // start or another job is ignored.
  void tokenize_blocks() {
    std::int64_t stopped = 0;
    std::vector<std::int64_t> counts;
    parallel::agree(communicator_, [&] {
      BlockTokenizer maker(config_, *tokenizer_, exclusion_, parts_,
                           parts_ / ("failed-" + base::hex(base::hash_text(owner_mark_))),
                           block_bytes_, communicator_);
      maker.run();
      stopped = maker.stopped() ? 1 : 0;
      counts = maker.block_counts();
      blocks_ = maker.take_blocks();
      findings_ = maker.take_findings();
      bad_lines_ = maker.take_bad_lines();
    });
    // No rank failed, so none may have stopped early, and the blocks of all files must exist.
    communicator_.all_reduce(std::span(&stopped, 1), parallel::Reduce::kMax);
    std::int64_t all = 0, made = static_cast<std::int64_t>(blocks_.size());
    for (const std::int64_t count : counts) all += count;
    communicator_.all_reduce(std::span(&made, 1), parallel::Reduce::kSum);
    std::int64_t most = all, least = all;
    communicator_.all_reduce(std::span(&most, 1), parallel::Reduce::kMax);
    communicator_.all_reduce(std::span(&least, 1), parallel::Reduce::kMin);
    if (stopped == 0 && made == most && most == least) return;
    throw base::Error(fmt::format(
        "{}: the build ended before all was read ({}): build again", config_.output.string(),
        stopped != 0 ? "a mark of a failure lies there, though no rank of this start failed"
                     : fmt::format("{} of {} blocks; files changed under it", made, most)));
  }

  void prepare() {
    // Checked before any document is read. A finished build may be in a read-only folder.
    if (first() && !base::is_there(config_.output / kDatasetFile))
      base::check_output_folder("output", config_.output);
    tokenizer_ = text::open_tokenizer(config_.tokenizer);
    if (config_.exclude_method == "ngram") {
      if (first()) base::log_info("reading the evaluation items that are kept out");
      exclusion_ = ExclusionIndex(config_.exclude_tasks, config_.exclude_files, places_);
      if (first())
        base::log_info(fmt::format("{} different n-grams of evaluation items", exclusion_.size()));
    }
    dataset_.tokenizer_file = config_.tokenizer;
    dataset_.tokenizer_hash = tokenizer_->hash();
    dataset_.vocabulary = tokenizer_->size();
    dataset_.validation = config_.validation;
    dataset_.exclusion_method = config_.exclude_method;
    dataset_.exclusion_hash = exclusion_.hash();
    dataset_.exclusion_tasks = config_.exclude_tasks;
    dataset_.exclusion_files = config_.exclude_files;
    dataset_.screened_tasks = exclusion_.screened_tasks();
    dataset_.contents = exclusion_.contents();
    block_bytes_ = std::min(kBlockBytes, config_.shard_tokens);
  }

  void name_build() {
    const auto hashes = hash_files(config_, communicator_);
    for (std::size_t s = 0; s < config_.sources.size(); ++s) {
      const SourceConfig& source = config_.sources[s];
      SourceSummary& summary = dataset_.sources.emplace_back();
      summary.name = source.name;
      summary.filters = source.filters;
      for (std::size_t i = 0; i < source.files.size(); ++i)
        summary.files.emplace_back(source.files[i].string(), hashes[s][i]);
    }
    dataset_.build = build_hash(config_, dataset_, *tokenizer_, block_bytes_, hashes);
    parts_ = config_.output / (".parts-" + dataset_.build);
  }

  // Whether a complete build with the same hash exists. All of its tokens are checked; the ranks
  // divide the reading among them.
  bool is_finished() {
    std::int64_t finished = 1;
    parallel::agree(communicator_, [&] {
      if (!base::is_there(config_.output / kDatasetFile)) {
        finished = 0;
        return;
      }
      try {
        const Dataset there = read_dataset(config_.output);
        if (there.build != dataset_.build) {
          finished = 0;
          return;
        }
        std::int64_t number = 0;
        for (const SourceSummary& source : there.sources) {
          for (const ShardEntry& entry : source.shards) {
            if (!mine(number++)) continue;
            const Shard shard(config_.output / entry.file);
            if (shard.content() != entry.content || shard.info().build != dataset_.build)
              throw base::InputError(fmt::format("{}: not the shard that {} names",
                                                 shard.path().string(), kDatasetFile));
            shard.verify();
          }
        }
      } catch (const base::InputError& error) {  // of another version, or damaged
        // A file without read permission is neither; this throws.
        for (const base::Path& entry : base::list_folder(config_.output))
          base::check_readable(entry);
        base::log_warning(fmt::format("{}; what is damaged is made again", error.what()));
        finished = 0;
      }
    });
    communicator_.all_reduce(std::span(&finished, 1), parallel::Reduce::kMin);
    return finished != 0;
  }

  // Removes part files of other settings and the summary. From here on the folder is an unfinished
  // build.
  void clean_up() {
    base::make_directories(parts_);
    base::remove_tree(config_.output / kDatasetFile);
    for (const base::Path& entry : base::list_folder(parts_))
      if (entry.filename().string().starts_with("failed")) base::remove_tree(entry);
    for (const base::Path& entry : base::list_folder(config_.output))
      if (entry.filename().string().starts_with(".parts-") && entry != parts_)
        base::remove_tree(entry);
  }

  // All-gathers blocks and findings, and divides the blocks, in order, into shards.
  void plan_shards() {
    blocks_ = gather_blocks(blocks_, communicator_);
    for (std::size_t s = 0; s < findings_.size(); ++s) {
      findings_[s] = gather_findings(findings_[s], exclusion_.groups().size(), communicator_);
      dataset_.sources[s].bad_lines = gather_bad_lines(bad_lines_[s], communicator_);
    }

    for (std::size_t begin = 0; begin < blocks_.size();) {
      Plan shard{blocks_[begin].place.source, 0, begin, begin, 0};
      if (!plans_.empty() && plans_.back().source == shard.source)
        shard.index = plans_.back().index + 1;
      while (shard.end < blocks_.size() && blocks_[shard.end].place.source == shard.source &&
             shard.tokens < config_.shard_tokens)
        shard.tokens += blocks_[shard.end++].counts.tokens;
      begin = shard.end;
      if (shard.tokens != 0) plans_.push_back(shard);
    }
  }

  // Logs the bad lines that were skipped. Throws InputError if nothing is left of a source.
  void check_sources() {
    parallel::agree(communicator_, [&] {
      for (const Block& block : blocks_)
        dataset_.sources[block.place.source].counts.add(block.counts);
      std::string nothing_left;
      for (const SourceSummary& source : dataset_.sources) {
        const DocumentCounts& c = source.counts;
        std::string named;
        for (const BadLine& bad : source.bad_lines)
          named += "\n  " + at_line(bad.file, bad.line, bad.column, bad.reason);
        if (first() && c.bad_lines > 0)
          base::log_warning(fmt::format("source {}: passed over {} among {}; the first:{}",
                                        source.name, base::counted(c.bad_lines, "bad line"),
                                        base::counted(c.read, "document"), named));
        if (c.written > 0) continue;
        nothing_left += fmt::format(
            "{}source {}: nothing is left of its {} ({}, {} empty, {} filtered, {} excluded)",
            nothing_left.empty() ? "" : "\n", source.name, base::counted(c.read, "document"),
            base::counted(c.bad_lines, "bad line"), c.empty, c.filtered, c.excluded);
      }
      if (!nothing_left.empty())
        throw base::InputError(nothing_left + "; correct the source, or take it out of DATA.yaml");
    });
  }

  TokenizedBlock part_of(const Block& block) const {
    std::optional<TokenizedBlock> part =
        read_tokenized_block(tokenized_block_path(parts_, config_, block.place));
    if (!part)
      throw base::Error(fmt::format("{}: gone or damaged: build again",
                                    tokenized_block_path(parts_, config_, block.place).string()));
    return std::move(*part);
  }

  base::Path shard_name(const Plan& plan) const {
    return fmt::format("{}-{:05}.h5", config_.sources[plan.source].name, plan.index);
  }

  // Whether the shard exists already, written by this build before it was interrupted.
  bool is_written(const base::Path& path, const Plan& plan) const {
    if (!base::is_there(path)) return false;
    try {
      const Shard shard(path);
      if (shard.info().build != dataset_.build || shard.tokens() != plan.tokens) return false;
      shard.verify();
      return true;
    } catch (const base::InputError&) {
      base::check_readable(path);
      return false;
    }
  }

  void write_shards() {
    for (std::size_t i = 0; i < plans_.size(); ++i) {
      const Plan& plan = plans_[i];
      const base::Path path = config_.output / shard_name(plan);
      if (!mine(i) || is_written(path, plan)) continue;
      ShardDocuments documents;
      for (std::size_t b = plan.begin; b < plan.end; ++b)
        documents.append(part_of(blocks_[b]).documents);
      const SourceConfig& source = config_.sources[plan.source];
      check_owner();
      write_shard(
          path,
          {source.name, plan.index, tokenizer_->size(), tokenizer_->bos(), tokenizer_->eos(),
           tokenizer_->hash(), dataset_.screened_tasks, dataset_.exclusion_method,
           dataset_.exclusion_hash, source.filters, dataset_.build},
          documents);
    }
  }

  void summarise() {
    parallel::agree(communicator_, [&] {
      Findings all(exclusion_.groups().size());
      for (std::size_t s = 0; s < dataset_.sources.size(); ++s)
        for (std::size_t g = 0; g < all.size(); ++g) {
          dataset_.sources[s].excluded_by_task.emplace_back(exclusion_.groups()[g].name,
                                                            findings_[s][g].documents);
          all[g].add(findings_[s][g]);
        }
      dataset_.exclusion_report = report_json(exclusion_, all);
      for (const Plan& plan : plans_) {
        const Shard shard(config_.output / shard_name(plan));
        dataset_.sources[plan.source].shards.push_back(
            {shard_name(plan).string(), shard.documents(), shard.tokens(), shard.content()});
      }
    });
  }

  // Writes the summary, then removes the part files and the shards of earlier builds.
  void finish() {
    check_owner();
    write_dataset(config_.output, dataset_);
    for (const base::Path& entry : base::list_folder(config_.output)) {
      if (entry.extension() != ".h5") continue;
      try {
        if (Shard(entry).info().build != dataset_.build) base::remove_tree(entry);
      } catch (const base::InputError& e) {
        base::log_warning(
            fmt::format("not a shard of this build, and left where it is: {}", e.what()));
      }
    }
    base::remove_tree(parts_);
  }

  const DataConfig& config_;
  const text::TaskPlaces& places_;
  parallel::Communicator& communicator_;
  std::shared_ptr<const text::Tokenizer> tokenizer_;
  ExclusionIndex exclusion_;
  Dataset dataset_;
  base::Path parts_;
  std::unique_ptr<base::FolderOwner> owner_;  // only on rank 0
  std::string owner_mark_;                    // the same on all ranks
  std::int64_t block_bytes_ = 0;
  // This rank's; after plan_shards() those of all ranks, in order.
  std::vector<Block> blocks_;
  std::vector<Findings> findings_;               // by source; otherwise as blocks_
  std::vector<std::vector<BadLine>> bad_lines_;  // this rank's, by source
  std::vector<Plan> plans_;
};

}  // namespace

Dataset build_dataset(const DataConfig& config, const text::TaskPlaces& places,
                      parallel::Communicator& communicator) {
  return Builder(config, places, communicator).run();
}

}  // namespace eyrie::data_pipeline
