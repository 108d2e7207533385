// The build: blocks of lines to parts, parts to shards, then dataset.json.
#include "data_pipeline/build.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstring>

#include "base/error.h"
#include "base/hash.h"
#include "base/log.h"
#include "data_pipeline/documents.h"
#include "data_pipeline/exclusion.h"
#include "data_pipeline/part_builder.h"
#include "data_pipeline/shard.h"
#include "text/tokenizer.h"

namespace eyrie::data_pipeline {
namespace {

namespace fs = std::filesystem;

// Part of `build`: raise it whenever the same input would give other shards.
constexpr int kRules = 1;
constexpr std::int64_t kBlockBytes = 2 << 20;

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

// What one rank says to all in a few numbers.
std::string pack(const std::vector<std::int64_t>& numbers) {
  return {reinterpret_cast<const char*>(numbers.data()), numbers.size() * sizeof(std::int64_t)};
}
std::vector<std::int64_t> unpack(const std::string& bytes) {
  std::vector<std::int64_t> numbers(bytes.size() / sizeof(std::int64_t));
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
    hash_files();
    if (is_finished()) {
      if (first())
        base::log_info(fmt::format("{} holds these shards already", config_.output.string()));
      return read_dataset(config_.output);
    }
    parallel::agree(communicator_, [&] {
      if (first()) clean_up();
    });
    parallel::agree(communicator_, [&] { make_parts(); });
    plan_shards();
    parallel::agree(communicator_, [&] { write_shards(); });
    summarise();
    parallel::agree(communicator_, [&] {
      if (first()) finish();
    });
    communicator_.barrier();
    return dataset_;
  }

 private:
  struct Place {  // of a block
    std::int64_t source, file, block;
    auto operator<=>(const Place&) const = default;
  };
  struct Block {
    Place place;
    DocumentCounts counts;
  };
  struct Plan {  // of a shard: blocks [begin, end)
    std::int64_t source, index;
    std::size_t begin, end;
    std::int64_t tokens;
  };

  bool mine(std::int64_t number) const {
    return number % communicator_.size() == communicator_.rank();
  }
  bool first() const { return communicator_.rank() == 0; }

  void prepare() {
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
    block_bytes_ = std::min(kBlockBytes, config_.shard_tokens);
    findings_.assign(config_.sources.size(), Findings(exclusion_.groups().size()));
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
    std::size_t file = 0;
    for (const SourceConfig& source : config_.sources) {
      SourceSummary summary;
      summary.name = source.name;
      summary.filters = source.filters;
      key += fmt::format("\n{} {} {}", source.name, source.text, source.skip_bad_lines);
      if (source.format == Format::kText) key += " format text";
      if (source.hold_out == HoldOut::kEnd) key += " hold_out end";
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

  base::Path part_path(const Place& place) const {
    return parts_ / fmt::format("{}-{:05}-{:06}", config_.sources[place.source].name, place.file,
                                place.block);
  }
  base::Path failed_path() const { return parts_ / "failed"; }

  bool is_finished() {
    std::int64_t finished = 0;
    parallel::agree(communicator_, [&] {
      if (!first() || !fs::exists(config_.output / kDatasetFile)) return;
      try {
        const Dataset there = read_dataset(config_.output);
        if (there.build != dataset_.build) return;
        for (const SourceSummary& source : there.sources)
          for (const ShardEntry& entry : source.shards)
            if (Shard(config_.output / entry.file).content() != entry.content) return;
        finished = 1;
      } catch (const base::InputError&) {
        // Of another version, or damaged: it is made again.
      }
    });
    communicator_.all_reduce(std::span(&finished, 1), parallel::Reduce::kMax);
    return finished != 0;
  }

  // Parts of other settings, and the summary: from here on the folder is an unfinished build.
  void clean_up() {
    base::make_directories(parts_);
    fs::remove(config_.output / kDatasetFile);
    fs::remove(failed_path());
    for (const fs::directory_entry& entry : fs::directory_iterator(config_.output))
      if (entry.path().filename().string().starts_with(".parts-") && entry.path() != parts_)
        fs::remove_all(entry.path());
  }

  // This rank's blocks. A rank that fails leaves a mark that the others see at their next block, so
  // that a bad line ends the build within seconds.
  void make_parts() {
    try {
      for (std::size_t s = 0; s < config_.sources.size(); ++s)
        for (const base::Path& file : config_.sources[s].files) total_bytes_ += fs::file_size(file);
      std::int64_t number = 0;
      for (std::size_t s = 0; s < config_.sources.size(); ++s)
        for (std::size_t f = 0; f < config_.sources[s].files.size(); ++f) {
          if (fs::exists(failed_path())) return;
          if (config_.sources[s].format == Format::kText) {
            read_whole(s, f, number++);
          } else {
            read_blocks(s, f, number++);
          }
        }
    } catch (...) {
      std::error_code ignored;
      fs::create_directory(failed_path(), ignored);
      throw;
    }
  }

  void read_blocks(std::int64_t source, std::int64_t file, std::int64_t file_number) {
    const SourceConfig& config = config_.sources[source];
    const base::Path& path = config.files[file];
    LineReader lines(path);
    PartBuilder builder(config, *tokenizer_, exclusion_, config_.validation);
    Place place{source, file, 0};
    std::int64_t bytes = 0;
    bool in_block = false;
    std::optional<Part> part;  // none in a block of another rank, or one that was made before
    const auto end_block = [&] {
      if (part) {
        write_part(part_path(place), *part);
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
        if (fs::exists(failed_path())) return;
        in_block = true;
        if (mine(file_number + place.block)) {
          const std::optional<Part> made = read_part(part_path(place));
          if (made) {
            keep(place, *made);
          } else {
            part.emplace();
          }
        }
      }
      if (part) builder.add_line(line, path, lines.number(), *part);
      bytes += static_cast<std::int64_t>(line.size()) + 1;
      if (bytes >= block_bytes_) end_block();
    }
    if (in_block) end_block();
    read_bytes_ += fs::file_size(path);
  }

  // A plain-text file is one block, whatever its size.
  void read_whole(std::int64_t source, std::int64_t file, std::int64_t file_number) {
    const SourceConfig& config = config_.sources[source];
    const base::Path& path = config.files[file];
    const Place place{source, file, 0};
    if (mine(file_number)) {
      std::optional<Part> part = read_part(part_path(place));
      if (!part) {
        PartBuilder builder(config, *tokenizer_, exclusion_, config_.validation);
        builder.add_text(read_text(path), path, part.emplace());
        write_part(part_path(place), *part);
      }
      keep(place, *part);
    }
    read_bytes_ += fs::file_size(path);
    report_progress(config, 0);
  }

  void report_progress(const SourceConfig& source, std::uint64_t consumed) {
    const auto now = std::chrono::steady_clock::now();
    if (!first() || now - last_report_ < std::chrono::seconds(2)) return;
    last_report_ = now;
    const double share =
        total_bytes_ == 0 ? 1 : static_cast<double>(read_bytes_ + consumed) / total_bytes_;
    const double seconds = std::chrono::duration<double>(now - started_).count();
    base::log_info(fmt::format("data build: {:.0f} % of {:.1f} MB, in {}, {:.0f} s left",
                               100 * share, total_bytes_ / 1e6, source.name,
                               seconds * (1 - share) / share));
  }

  // What is said of a part at the end; its documents stay in its file.
  void keep(const Place& place, const Part& part) {
    blocks_.push_back({place, part.counts});
    Findings& findings = findings_[place.source];
    for (std::size_t g = 0; g < part.findings.size(); ++g) findings[g].add(part.findings[g]);
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

  Part part_of(const Block& block) const {
    std::optional<Part> part = read_part(part_path(block.place));
    if (!part)
      throw base::Error(
          fmt::format("{}: gone or damaged: build again", part_path(block.place).string()));
    return std::move(*part);
  }

  base::Path shard_name(const Plan& plan) const {
    return fmt::format("{}-{:05}.h5", config_.sources[plan.source].name, plan.index);
  }

  // A shard of this very build from before it was interrupted.
  bool is_written(const base::Path& path, const Plan& plan) const {
    if (!fs::exists(path)) return false;
    try {
      const Shard shard(path);
      return shard.info().build == dataset_.build && shard.tokens() == plan.tokens;
    } catch (const base::InputError&) {
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
      for (const Block& block : blocks_)
        dataset_.sources[block.place.source].counts.add(block.counts);
      for (const Plan& plan : plans_) {
        const Shard shard(config_.output / shard_name(plan));
        dataset_.sources[plan.source].shards.push_back(
            {shard_name(plan).string(), shard.documents(), shard.tokens(), shard.content()});
      }
      if (!first()) return;
      for (const SourceSummary& source : dataset_.sources)
        if (source.shards.empty())
          base::log_warning(
              fmt::format("source {}: no document is left, so there is no shard", source.name));
    });
  }

  // The summary; then the parts and the shards of an earlier build go.
  void finish() {
    write_dataset(config_.output, dataset_);
    for (const fs::directory_entry& entry : fs::directory_iterator(config_.output)) {
      if (entry.path().extension() != ".h5") continue;
      try {
        if (Shard(entry.path()).info().build != dataset_.build) fs::remove(entry.path());
      } catch (const base::InputError& e) {
        base::log_warning(
            fmt::format("not a shard of this build, and left where it is: {}", e.what()));
      }
    }
    fs::remove_all(parts_);
  }

  const DataConfig& config_;
  const text::TaskPlaces& places_;
  parallel::Communicator& communicator_;
  std::shared_ptr<const text::Tokenizer> tokenizer_;
  ExclusionIndex exclusion_;
  Dataset dataset_;
  base::Path parts_;
  std::int64_t block_bytes_ = 0;
  std::vector<Block> blocks_;       // this rank's; after plan_shards() everybody's, in order
  std::vector<Findings> findings_;  // by source; in the same way
  std::vector<Plan> plans_;
  std::uint64_t total_bytes_ = 0, read_bytes_ = 0;
  std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
  std::chrono::steady_clock::time_point last_report_ = started_;
};

}  // namespace

Dataset build_dataset(const DataConfig& config, const text::TaskPlaces& places,
                      parallel::Communicator& communicator) {
  return Builder(config, places, communicator).run();
}

}  // namespace eyrie::data_pipeline
