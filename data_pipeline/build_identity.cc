// Hashes of files and settings.
#include "data_pipeline/build_identity.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/hash.h"
#include "base/listing.h"
#include "base/version.h"
#include "data_pipeline/documents.h"
#include "data_pipeline/shard.h"
#include "parallel/communication/run_guarded.h"

namespace eyrie::data_pipeline {
namespace {

// Goes into the build's hash. Increase it whenever the same input would give different shards.
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

}  // namespace

parallel::Fact file_fact(const std::string& name, const base::Path& path) {
  constexpr std::uint64_t kEnd = 64 << 10;
  if (!base::is_regular_file(path)) return {name, "none: no ordinary file"};
  const base::File file = base::File::open(path);
  const std::uint64_t size = file.size();
  std::vector<std::byte> bytes(std::min(size, kEnd));
  file.read_at(bytes, 0);
  const std::uint64_t first = base::hash_bytes(bytes);
  file.read_at(bytes, size - bytes.size());
  return {name, fmt::format("{} bytes, ends {}", size, base::hex(base::hash_bytes(bytes, first)))};
}

parallel::Facts build_facts(const DataConfig& config, const text::Tokenizer& tokenizer,
                            const ExclusionIndex& exclusion) {
  parallel::Facts facts = {{"the version of eyrie", base::kVersion},
                           {"the tokenizer " + config.tokenizer, tokenizer.hash()},
                           {"shard_tokens", std::to_string(config.shard_tokens)},
                           {"validation", fmt::format("{}", config.validation)},
                           {"largest_document", std::to_string(config.largest_document)},
                           {"largest_piece", std::to_string(config.largest_piece)},
                           {"exclude.method", config.exclude_method},
                           {"what the evaluation items are (exclude)", exclusion.hash()}};
  for (const SourceConfig& source : config.sources) {
    facts.emplace_back(
        "source " + source.name,
        fmt::format("text {}, format {}, hold_out {}, on_error {}, filters [{}]", source.text,
                    source.format == Format::kText ? "text" : "jsonl",
                    source.hold_out == HoldOut::kEnd ? "end" : "documents",
                    source.skip_bad_lines ? "skip" : "stop", fmt::join(source.filters, ", ")));
    for (const base::Path& path : source.files)
      facts.push_back(file_fact(fmt::format("source {}: {}", source.name, path.string()), path));
  }
  return facts;
}

std::vector<std::vector<std::string>> hash_files(const DataConfig& config,
                                                 parallel::Communicator& communicator) {
  std::string own;
  parallel::agree(communicator, [&] {
    std::int64_t number = 0;
    for (const SourceConfig& source : config.sources)
      for (const base::Path& path : source.files)
        if (number++ % communicator.size() == communicator.rank()) own += file_hash(path);
  });
  const std::vector<std::string> all = communicator.all_gather(own);
  std::vector<std::vector<std::string>> hashes;
  std::size_t number = 0;
  for (const SourceConfig& source : config.sources) {
    auto& of_source = hashes.emplace_back();
    for (std::size_t i = 0; i < source.files.size(); ++i, ++number)
      of_source.push_back(all[number % all.size()].substr(16 * (number / all.size()), 16));
  }
  return hashes;
}

std::string build_hash(const DataConfig& config, const Dataset& dataset,
                       const text::Tokenizer& tokenizer, std::int64_t block_bytes,
                       const std::vector<std::vector<std::string>>& file_hashes) {
  std::string key = fmt::format(
      "{} {} {} {} {} {} {} {}", kRules, kShardVersion, config.shard_tokens, block_bytes,
      config.validation, dataset.tokenizer_hash, dataset.exclusion_method, dataset.exclusion_hash);
  if (tokenizer.finds_markers()) key += " markers are text";
  if (config.largest_document != kLargestDocument || config.largest_piece != text::kLargestPiece)
    key += fmt::format(" {} {}", config.largest_document, config.largest_piece);
  for (std::size_t i = 0; i < config.sources.size(); ++i) {
    const SourceConfig& source = config.sources[i];
    key += fmt::format("\n{} {} {}", source.name, source.text, source.skip_bad_lines);
    if (source.format == Format::kText) key += " format text";
    if (source.hold_out == HoldOut::kEnd) key += " hold_out end";
    // The version of the rule that decides which lines are bad.
    if (source.skip_bad_lines) key += " bad lines 2";
    for (const std::string& filter : source.filters) key += " " + filter;
    for (const std::string& hash : file_hashes[i]) key += " " + hash;
  }
  return base::hex(base::hash_text(key));
}

}  // namespace eyrie::data_pipeline
