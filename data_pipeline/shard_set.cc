// Opens and checks a folder of shards.
#include "data_pipeline/shard_set.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/hash.h"
#include "base/listing.h"
#include "data_pipeline/dataset.h"

namespace eyrie::data_pipeline {
namespace {

void check_needs(const Shard& shard, const Dataset& dataset, const DataNeeds& needs) {
  const ShardInfo& info = shard.info();
  if (info.tokenizer_hash != needs.tokenizer_hash)
    throw base::InputError(
        fmt::format("{}: made with tokenizer {} (hash {}), the run's is {} (hash {}): build the "
                    "shards with the run's tokenizer, or "
                    "name the other one in the run",
                    shard.path().string(), dataset.tokenizer_file, info.tokenizer_hash,
                    needs.tokenizer_file, needs.tokenizer_hash));
  if (needs.vocabulary > 0 && info.vocabulary != needs.vocabulary)
    throw base::InputError(fmt::format(
        "{}: its tokens are of a vocabulary of {}, the run's tokenizer {} has {} pieces: "
        "build the shards again with it",
        shard.path().string(), info.vocabulary, needs.tokenizer_file, needs.vocabulary));
  const auto screened = [&](const std::string& task) {
    return std::find(info.screened_tasks.begin(), info.screened_tasks.end(), task) !=
           info.screened_tasks.end();
  };
  for (const std::string& task : needs.tasks) {
    const auto group = needs.leaf_tasks.find(task);
    const bool by_leaves = group != needs.leaf_tasks.end() && !group->second.empty() &&
                           std::all_of(group->second.begin(), group->second.end(), screened);
    if (!screened(task) && !by_leaves)
      throw base::InputError(
          fmt::format("{}: not screened for task {}, which this run evaluates (screened for: {}): "
                      "add {} to exclude.tasks in "
                      "DATA.yaml and build again, or do not evaluate it",
                      shard.path().string(), task,
                      dataset.exclusion_tasks.empty()
                          ? "nothing"
                          : fmt::format("{}", fmt::join(dataset.exclusion_tasks, ", ")),
                      task));
  }
}

// Checks that the items that were kept out are those that are evaluated: the same task name is not
// enough. Returns a warning, or "".
std::string check_contents(const base::Path& directory, const Dataset& dataset,
                           const DataNeeds& needs) {
  for (const auto& [task, splits] : needs.contents) {
    const auto screened = dataset.contents.find(task);
    if (screened == dataset.contents.end()) {
      return fmt::format(
          "{}: an earlier version built these shards: they name the tasks that were kept out, but "
          "not which edition, so "
          "nobody can tell whether {} is the one that this run evaluates. `eyrie data build` with "
          "the same DATA.yaml "
          "adds that to {} and leaves the shards as they are",
          directory.string(), task, kDatasetFile);
    }
    for (const auto& [split, content] : splits) {
      const auto there = screened->second.find(split);
      if (there != screened->second.end() && there->second == content) continue;
      throw base::InputError(
          fmt::format("{}: screened for another edition of task {} than this run evaluates: the "
                      "documents of its split {} ({}) are "
                      "not those that were kept out ({}): build the shards again with the "
                      "evaluation data of the run (eyrie data "
                      "build --data), or evaluate with the data of the build (evaluation.data)",
                      (directory / kDatasetFile).string(), task, split, content,
                      there == screened->second.end() ? "there is no such split" : there->second));
    }
  }
  return "";
}

// Compares what dataset.json says about a shard with what the shard says about itself.
void check_entry(const Shard& shard, const ShardEntry& entry, const SourceSummary& summary,
                 const Dataset& dataset) {
  const ShardInfo& info = shard.info();
  const auto compare = [&](const char* what, const auto& there, const auto& here) {
    if (there == here) return;
    throw base::InputError(
        fmt::format("{}: not the shard that {} names, but of another build ({} {} in place of {}): "
                    "build the shards again (eyrie data build)",
                    shard.path().string(), kDatasetFile, what, here, there));
  };
  compare("build", dataset.build, info.build);
  compare("content", entry.content, shard.content());
  compare("source", summary.name, info.source);
  compare("documents", entry.documents, shard.documents());
  compare("tokens", entry.tokens, shard.tokens());
  compare("vocabulary", dataset.vocabulary, info.vocabulary);
  compare("tokenizer", dataset.tokenizer_hash, info.tokenizer_hash);
  compare("exclusion", dataset.exclusion_hash, info.exclusion_hash);
  compare("screened tasks", fmt::format("{}", fmt::join(dataset.screened_tasks, ",")),
          fmt::format("{}", fmt::join(info.screened_tasks, ",")));
}

}  // namespace

std::shared_ptr<const ShardSet> ShardSet::open(const base::Path& shards, const DataNeeds& needs,
                                               const base::Path& copy) {
  const base::Path& directory = copy.empty() ? shards : copy;
  const Dataset dataset = read_dataset(directory);
  auto set = std::make_shared<ShardSet>();
  set->directory_ = shards;
  set->vocabulary_ = dataset.vocabulary;
  std::set<std::string> named;
  for (const SourceSummary& summary : dataset.sources) {
    Source source;
    source.name = summary.name;
    for (const ShardEntry& entry : summary.shards) {
      if (entry.file.empty() || base::Path(entry.file).filename() != entry.file)
        throw base::InputError(fmt::format("{}: the shard '{}' is no file of this folder",
                                           (directory / kDatasetFile).string(), entry.file));
      if (!named.insert(entry.file).second)
        throw base::InputError(fmt::format("{}: the shard {} is there twice",
                                           (directory / kDatasetFile).string(), entry.file));
      const base::Path path = directory / entry.file;
      const auto refuse = [&](const std::string& what) {
        return base::InputError(
            fmt::format("{}: {}: build the shards again (eyrie data build)", path.string(), what));
      };
      if (!base::is_there(path))
        throw refuse(fmt::format("{} names it, but it is not there", kDatasetFile));
      Shard shard(path);
      check_entry(shard, entry, summary, dataset);
      check_needs(shard, dataset, needs);
      const auto number = static_cast<std::uint32_t>(source.shards.size());
      for (std::int64_t d = 0; d < shard.documents(); ++d) {
        if (shard.offset(d + 1) == shard.offset(d)) continue;
        (shard.validation(d) ? source.validation : source.training)
            .push_back({number, static_cast<std::uint32_t>(d)});
      }
      source.shards.push_back(std::move(shard));
    }
    set->sources_.push_back(std::move(source));
  }
  for (const base::Path& entry : base::list_folder(directory))
    if (entry.extension() == ".h5" && !named.contains(entry.filename().string()))
      throw base::InputError(fmt::format(
          "{}: {} does not name it, so nobody knows what it was screened for: remove it, "
          "or build the shards again",
          entry.string(), kDatasetFile));
  set->warning_ = check_contents(directory, dataset, needs);
  return set;
}

const ShardSet::Source& ShardSet::source(const std::string& name) const {
  std::vector<std::string> known;
  for (const Source& source : sources_) {
    if (source.name == name) return source;
    known.push_back(source.name);
  }
  throw base::InputError(fmt::format("mixture: {} has no source '{}'; it has: {}",
                                     directory_.string(), name, fmt::join(known, ", ")));
}

std::string ShardSet::fingerprint(const std::vector<std::string>& names) const {
  base::Hasher hasher;
  for (const std::string& name : names) {
    hasher.add(name + "\n");
    for (const Shard& shard : source(name).shards) hasher.add(shard.content());
  }
  return base::hex(hasher.value());
}

}  // namespace eyrie::data_pipeline
