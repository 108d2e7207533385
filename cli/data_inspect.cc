// eyrie data inspect PATH: shows what a shard or a folder of shards contains.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <CLI/CLI.hpp>

#include <algorithm>

#include "base/error.h"
#include "base/hash.h"
#include "base/listing.h"
#include "base/output.h"
#include "base/shown.h"
#include "cli/command.h"
#include "cli/flags.h"
#include "data_pipeline/dataset.h"
#include "data_pipeline/shard.h"
#include "text/tokenizer.h"

namespace eyrie::cli {
namespace {

void print_documents(const data_pipeline::Shard& shard, std::int64_t count,
                     const text::Tokenizer& tokenizer) {
  for (std::int64_t d = 0; d < std::min(count, shard.documents()); ++d) {
    std::vector<std::int32_t> ids(shard.offset(d + 1) - shard.offset(d));
    shard.read(shard.offset(d), ids);
    base::print("--- document {}: {} tokens, quality {:.3f}, hash {}{}\n", d, ids.size(),
                shard.quality(d), base::hex(shard.hash(d)),
                shard.validation(d) ? ", held out" : "");
    if (!ids.empty() && ids.front() == shard.info().bos) ids.erase(ids.begin());
    if (!ids.empty() && ids.back() == shard.info().eos) ids.pop_back();
    base::print("{}\n", tokenizer.decode(ids));
  }
}

// Returns the tasks without those that a group in the list covers, as "mmlu" covers "mmlu_anatomy".
std::vector<std::string> without_leaf_tasks(const std::vector<std::string>& tasks) {
  std::vector<std::string> groups;
  for (const std::string& task : tasks) {
    const bool leaf = std::any_of(tasks.begin(), tasks.end(), [&](const std::string& group) {
      return task.starts_with(group + "_");
    });
    if (!leaf) groups.push_back(task);
  }
  return groups;
}

std::string joined(const std::vector<std::string>& names) {
  return base::shown(fmt::format("{}", fmt::join(names, ", ")));
}

void print_shard(const data_pipeline::Shard& shard) {
  const data_pipeline::ShardInfo& info = shard.info();
  std::int64_t held = 0, held_tokens = 0;
  std::vector<float> quality;
  for (std::int64_t d = 0; d < shard.documents(); ++d) {
    quality.push_back(shard.quality(d));
    if (!shard.validation(d)) continue;
    ++held;
    held_tokens += shard.offset(d + 1) - shard.offset(d);
  }
  std::sort(quality.begin(), quality.end());
  const auto at = [&](double share) {
    return quality[static_cast<std::size_t>(share * (quality.size() - 1))];
  };
  base::print("{}\n", shard.path().string());
  base::print("  source      {} (shard {}), filters: {}\n", base::shown(info.source), info.index,
              info.filters.empty() ? "none" : joined(info.filters));
  base::print("  documents   {}, held out {}\n", shard.documents(), held);
  base::print("  tokens      {}, held out {}\n", shard.tokens(), held_tokens);
  base::print("  quality     lowest {:.3f}, median {:.3f}, highest {:.3f}\n", at(0), at(0.5),
              at(1));
  base::print("  vocabulary  {}, BOS {}, EOS {}, tokenizer {}\n", info.vocabulary, info.bos,
              info.eos, base::shown(info.tokenizer_hash));
  const std::vector<std::string> tasks = without_leaf_tasks(info.screened_tasks);
  base::print("  exclusion   {} ({}): {}\n", base::shown(info.exclusion_method),
              base::shown(info.exclusion_hash), tasks.empty() ? "nothing" : joined(tasks));
  base::print("  content     {}, build {}\n", base::shown(shard.content()),
              base::shown(info.build));
}

}  // namespace

int run_data_inspect(int argc, char** argv) {
  std::string path, tokenizer_file;
  std::int64_t documents = 0;
  bool verify = false;
  CLI::App app("Shows what a shard, or every shard of a folder, holds.", argv[0]);
  app.add_option("PATH", path, "a shard, or the folder of a build")->required();
  add_whole(app, "--documents", documents, "print the first N documents of each, decoded", 0);
  app.add_option("--tokenizer", tokenizer_file,
                 "the tokenizer to decode with (default: the one of the build)");
  app.add_flag("--verify", verify, "read everything and compare the checksums");
  if (const auto end = parse(app, argc, argv)) return *end;
  const bool folder = base::is_folder(path);
  const base::Path directory = folder ? base::Path(path) : base::Path(path).parent_path();
  std::vector<base::Path> files;
  if (folder) {
    const data_pipeline::Dataset dataset = data_pipeline::read_dataset(directory);
    for (const data_pipeline::SourceSummary& source : dataset.sources)
      for (const data_pipeline::ShardEntry& entry : source.shards)
        files.push_back(directory / entry.file);
    base::print("{}\n", data_pipeline::dataset_table(dataset));
  } else {
    files.emplace_back(path);
  }
  std::shared_ptr<const text::Tokenizer> tokenizer;
  if (documents > 0) {
    if (tokenizer_file.empty())
      tokenizer_file = data_pipeline::read_dataset(directory).tokenizer_file;
    tokenizer = text::open_tokenizer(tokenizer_file);
  }
  for (const base::Path& file : files) {
    const data_pipeline::Shard shard(file);
    print_shard(shard);
    if (verify) {
      shard.verify();
      base::print("  checksums   all right\n");
    }
    if (!tokenizer) continue;
    if (tokenizer->hash() != shard.info().tokenizer_hash)
      throw base::InputError(fmt::format(
          "{}: made with a tokenizer of hash {}, {} has {}: name the right one by "
          "--tokenizer",
          file.string(), shard.info().tokenizer_hash, tokenizer_file, tokenizer->hash()));
    print_documents(shard, documents, *tokenizer);
  }
  return base::kExitDone;
}

}  // namespace eyrie::cli
