// The build: blocks of lines to parts, parts to shards, then dataset.json.
#include "data_pipeline/build.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <tuple>

#include "base/error.h"
#include "base/hash.h"
#include "base/listing.h"
#include "base/log.h"
#include "base/output_place.h"
#include "base/owner.h"
#include "base/process_name.h"
#include "base/version.h"
#include "data_pipeline/documents.h"
#include "data_pipeline/exclusion.h"
#include "data_pipeline/make_parts.h"
#include "data_pipeline/part.h"
#include "data_pipeline/shard.h"
#include "parallel/same.h"
#include "text/tokenizer.h"

namespace eyrie::data_pipeline {
namespace {

// Part of `build`: raise it whenever the same input would give other shards.
constexpr int kRules = 1;

std::string file_hash(const base::Path& path) {
  const base::File file = base::File::open(path);
  std::vector<std::byte> chunk(1 << 20);
  base::Hasher hasher;
  for (std::uint64_t at = 0, size = file.size(); at < size; at += chunk.size()) {
    const auto piece = std::span(chunk).first(std::min<std::uint64_t>(chunk.size(), size - at));
    file.read_at(piece, at);
    hasher.add(piece);
  }
  return base::hex(hasher.value());
}

// The hash of a file's beginning and end: enough to tell apart files of two nodes that every rank
// would otherwise have to read whole.
std::string ends(const base::Path& path) {
  constexpr std::uint64_t kEnd = 64 << 10;
  if (!base::is_regular_file(path)) return "none: no ordinary file";
  const base::File file = base::File::open(path);
  const std::uint64_t size = file.size();
  std::vector<std::byte> bytes(std::min(size, kEnd));
  file.read_at(bytes, 0);
  const std::uint64_t first = base::hash_bytes(bytes);
  file.read_at(bytes, size - bytes.size());
  return base::hex(base::hash_bytes(bytes, first));
}

// What one rank says to all in a few numbers.
std::string pack(const std::vector<std::int64_t>& numbers) {
  return {reinterpret_cast<const char*>(numbers.data()), numbers.size() * sizeof(std::int64_t)};
}
std::vector<std::int64_t> unpack(const std::string& bytes) {
  std::vector<std::int64_t> numbers(bytes.size() / sizeof(std::int64_t));
  if (!numbers.empty())
    std::memcpy(numbers.data(), bytes.data(), numbers.size() * sizeof(std::int64_t));
  return numbers;
}

class Builder {
 public:
  Builder(const DataConfig& config, const text::TaskPlaces& places,
          parallel::Communicator& communicator)
      : config_(config), places_(places), communicator_(communicator) {}

  Dataset run() {
    parallel::agree(communicator_, [&] { prepare(); });
    parallel::Facts facts;
    parallel::agree(communicator_, [&] { facts = build_facts(); });
    parallel::check_same(communicator_, facts, "Give every node the same files, or shared ones");
    hash_files();
    if (is_finished()) return finished();
    own();
    if (is_finished()) return finished();  // by the owner before
    parallel::agree(communicator_, [&] {
      if (first()) clean_up();
    });
    make_parts();
    plan_shards();
    gather_bad_lines();
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
  struct Plan {  // of a shard: blocks [begin, end)
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
      there.contents = dataset_.contents;  // of the same items: `build` covers them
      if (first()) write_dataset(config_.output, there);
    });
    return there;
  }

  // What every rank must have been given alike.
  parallel::Facts build_facts() const {
    if (communicator_.size() == 1) return {};
    parallel::Facts facts = {{"the version of eyrie", base::kVersion},
                             {"the tokenizer " + config_.tokenizer, tokenizer_->hash()},
                             {"shard_tokens", std::to_string(config_.shard_tokens)},
                             {"validation", fmt::format("{}", config_.validation)},
                             {"largest_document", std::to_string(config_.largest_document)},
                             {"largest_piece", std::to_string(config_.largest_piece)},
                             {"exclude.method", config_.exclude_method},
                             {"what the evaluation items are (exclude)", exclusion_.hash()}};
    for (const SourceConfig& source : config_.sources) {
      facts.emplace_back(
          "source " + source.name,
          fmt::format("text {}, format {}, hold_out {}, on_error {}, filters [{}]", source.text,
                      source.format == Format::kText ? "text" : "jsonl",
                      source.hold_out == HoldOut::kEnd ? "end" : "documents",
                      source.skip_bad_lines ? "skip" : "stop", fmt::join(source.filters, ", ")));
      for (const base::Path& path : source.files)
        facts.emplace_back(fmt::format("source {}: {}", source.name, path.string()),
                           fmt::format("{} bytes, ends {}", base::bytes_of_file(path), ends(path)));
    }
    return facts;
  }

  // One job at a time writes to the output.
  void own() {
    const auto processes = communicator_.gather(base::to_line(base::this_process()), 0);
    parallel::agree(communicator_, [&] {
      if (!first()) return;
      owner_ = std::make_unique<base::Owner>(
          config_.output, base::OwnerOptions{.what = "these shards",
                                             .instead = "to build beside it, set another output",
                                             .processes = processes});
    });
    owner_mark_ = communicator_.all_gather(first() ? owner_->mark() : "")[0];
    parallel::agree(communicator_, [&] { base::see_owner(config_.output, owner_mark_); });
  }

  void check_owner() const { base::check_owner(config_.output, owner_mark_); }

  // The mark of a failing rank carries the owner's name: one that an earlier start or somebody else
  // left says nothing about this start.
  void make_parts() {
    std::int64_t stopped = 0;
    std::vector<std::int64_t> counts;
    parallel::agree(communicator_, [&] {
      PartMaker maker(config_, *tokenizer_, exclusion_, parts_,
                      parts_ / ("failed-" + base::hex(base::hash_text(owner_mark_))), block_bytes_,
                      communicator_);
      maker.run();
      stopped = maker.stopped() ? 1 : 0;
      counts = maker.block_counts();
      blocks_ = maker.take_blocks();
      findings_ = maker.take_findings();
      bad_lines_ = maker.take_bad_lines();
    });
    // No rank failed, so none may have stopped; and all blocks of all files must be there.
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
    // Before any document is read. A build that is there may lie in a folder for reading alone.
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

  // Every file once, dealt to the ranks; then the hash of all that decides the shards.
  void hash_files() {
    std::vector<base::Path> files;
    for (const SourceConfig& source : config_.sources)
      files.insert(files.end(), source.files.begin(), source.files.end());
    std::string own;
    parallel::agree(communicator_, [&] {
      for (std::size_t i = 0; i < files.size(); ++i)
        if (mine(i)) own += file_hash(files[i]);
    });
    const std::vector<std::string> all = communicator_.all_gather(own);
    std::vector<std::string> hashes(files.size());
    std::vector<std::size_t> next(all.size(), 0);
    for (std::size_t i = 0; i < files.size(); ++i) {
      const std::size_t rank = i % all.size();
      hashes[i] = all[rank].substr(16 * next[rank]++, 16);
    }
    std::string key =
        fmt::format("{} {} {} {} {} {} {} {}", kRules, kShardVersion, config_.shard_tokens,
                    block_bytes_, config_.validation, dataset_.tokenizer_hash,
                    dataset_.exclusion_method, dataset_.exclusion_hash);
    if (tokenizer_->finds_markers()) key += " markers are text";
    if (config_.largest_document != kLargestDocument ||
        config_.largest_piece != text::kLargestPiece)
      key += fmt::format(" {} {}", config_.largest_document, config_.largest_piece);
    std::size_t file = 0;
    for (const SourceConfig& source : config_.sources) {
      SourceSummary summary;
      summary.name = source.name;
      summary.filters = source.filters;
      key += fmt::format("\n{} {} {}", source.name, source.text, source.skip_bad_lines);
      if (source.format == Format::kText) key += " format text";
      if (source.hold_out == HoldOut::kEnd) key += " hold_out end";
      if (source.skip_bad_lines) key += " bad lines 2";  // which lines these are
      for (const std::string& filter : source.filters) key += " " + filter;
      for (const base::Path& path : source.files) {
        summary.files.emplace_back(path.string(), hashes[file]);
        key += " " + hashes[file++];
      }
      dataset_.sources.push_back(std::move(summary));
    }
    dataset_.build = base::hex(base::hash_text(key));
    parts_ = config_.output / (".parts-" + dataset_.build);
  }

  // Whether a build with the same hash is there, whole to the last token: the ranks share out the
  // reading.
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
        // What may not be read is neither.
        for (const base::Path& entry : base::list_folder(config_.output))
          base::check_readable(entry);
        base::log_warning(fmt::format("{}; what is damaged is made again", error.what()));
        finished = 0;
      }
    });
    communicator_.all_reduce(std::span(&finished, 1), parallel::Reduce::kMin);
    return finished != 0;
  }

  // Parts of other settings, and the summary: from here on the folder is an unfinished build.
  void clean_up() {
    base::make_directories(parts_);
    base::remove_tree(config_.output / kDatasetFile);
    for (const base::Path& entry : base::list_folder(parts_))
      if (entry.filename().string().starts_with("failed")) base::remove_tree(entry);
    for (const base::Path& entry : base::list_folder(config_.output))
      if (entry.filename().string().starts_with(".parts-") && entry != parts_)
        base::remove_tree(entry);
  }

  // All ranks learn of all blocks and findings, and cut the blocks, in order, into shards.
  void plan_shards() {
    std::vector<std::int64_t> own;
    for (const Block& b : blocks_) {
      const DocumentCounts& c = b.counts;
      own.insert(own.end(),
                 {b.place.source, b.place.file, b.place.block, c.read, c.bad_lines, c.empty,
                  c.filtered, c.excluded, c.written, c.validation, c.tokens, c.validation_tokens});
    }
    blocks_.clear();
    for (const std::string& rank : communicator_.all_gather(pack(own))) {
      const std::vector<std::int64_t> n = unpack(rank);
      for (std::size_t i = 0; i + 12 <= n.size(); i += 12)
        blocks_.push_back({{n[i], n[i + 1], n[i + 2]},
                           {n[i + 3], n[i + 4], n[i + 5], n[i + 6], n[i + 7], n[i + 8], n[i + 9],
                            n[i + 10], n[i + 11]}});
    }
    std::sort(blocks_.begin(), blocks_.end(),
              [](const Block& a, const Block& b) { return a.place < b.place; });
    for (Findings& findings : findings_) {
      const std::vector<std::string> all = communicator_.all_gather(to_json(findings));
      findings.assign(exclusion_.groups().size(), {});
      for (const std::string& rank : all) {
        const Findings theirs = findings_from_json(rank);
        for (std::size_t g = 0; g < theirs.size(); ++g) findings[g].add(theirs[g]);
      }
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

  // The first of each source, whichever ranks found them.
  void gather_bad_lines() {
    for (std::size_t s = 0; s < bad_lines_.size(); ++s) {
      std::vector<BadLine> all;
      for (const std::string& rank : communicator_.all_gather(to_json(bad_lines_[s]))) {
        const std::vector<BadLine> theirs = bad_lines_from_json(rank);
        all.insert(all.end(), theirs.begin(), theirs.end());
      }
      std::sort(all.begin(), all.end(), [](const BadLine& a, const BadLine& b) {
        return std::tie(a.file, a.line) < std::tie(b.file, b.line);
      });
      if (all.size() > kNamedBadLines) all.resize(kNamedBadLines);
      dataset_.sources[s].bad_lines = std::move(all);
    }
  }

  // Names the bad lines that were passed over. InputError: a source of which nothing is left.
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

  Part part_of(const Block& block) const {
    std::optional<Part> part = read_part(part_path(parts_, config_, block.place));
    if (!part)
      throw base::Error(fmt::format("{}: gone or damaged: build again",
                                    part_path(parts_, config_, block.place).string()));
    return std::move(*part);
  }

  base::Path shard_name(const Plan& plan) const {
    return fmt::format("{}-{:05}.h5", config_.sources[plan.source].name, plan.index);
  }

  // A shard of this very build from before it was interrupted.
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

  // The summary; then the parts and the shards of an earlier build go.
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
  std::unique_ptr<base::Owner> owner_;  // of rank 0
  std::string owner_mark_;              // the same on all ranks
  std::int64_t block_bytes_ = 0;
  std::vector<Block> blocks_;       // this rank's; after plan_shards() everybody's, in order
  std::vector<Findings> findings_;  // by source; in the same way
  std::vector<std::vector<BadLine>> bad_lines_;  // this rank's, by source
  std::vector<Plan> plans_;
};

}  // namespace

Dataset build_dataset(const DataConfig& config, const text::TaskPlaces& places,
                      parallel::Communicator& communicator) {
  return Builder(config, places, communicator).run();
}

}  // namespace eyrie::data_pipeline
