// Reading and checking DATA.yaml.
#include "data_pipeline/data_config.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/config_range.h"
#include "base/error.h"
#include "base/shown.h"
#include "data_pipeline/documents.h"
#include "data_pipeline/file_patterns.h"

namespace eyrie::data_pipeline {
namespace {

// Available and planned names; a planned one gets another message than a misspelled one.
const std::vector<std::string> kFilters = {"utf8"};
const std::vector<std::string> kLaterFilters = {"language", "repetition", "quality",
                                                "unsafe",   "personal",   "duplicate"};
const std::vector<std::string> kMethods = {"ngram", "none"};

bool contains(const std::vector<std::string>& list, const std::string& value) {
  return std::find(list.begin(), list.end(), value) != list.end();
}

std::vector<std::string> one_or_more(base::Config& config, const std::string& key) {
  if (config.is_scalar(key)) return {config.get<std::string>(key)};
  return config.get<std::vector<std::string>>(key);
}

// Returns whether the key holds the second of its two allowed values.
bool is_second(base::Config& config, const std::string& key, const std::string& first,
               const std::string& second, bool by_default) {
  const std::string value = config.get<std::string>(key, by_default ? second : first);
  if (value != first && value != second)
    throw config.error(key, fmt::format("'{}' is neither {} nor {}", value, first, second));
  return value == second;
}

std::vector<base::Path> files_of(const base::Config& config, const std::string& key,
                                 const std::string& pattern) {
  try {
    return matching_files(pattern);
  } catch (const base::InputError& error) {
    throw config.error(key, error.what());
  }
}

std::size_t bytes(base::Config& config, const std::string& key, std::size_t fallback) {
  constexpr std::int64_t kMost = (std::int64_t{1} << 31) - 1;  // libraries use 32-bit counts
  return base::get_whole(config, key, static_cast<std::int64_t>(fallback), 1, kMost);
}

SourceConfig read_source(base::Config config) {
  SourceConfig source;
  source.name = config.get<std::string>("name");
  const bool letters = std::all_of(source.name.begin(), source.name.end(), [](unsigned char c) {
    return std::isalnum(c) || c == '_' || c == '-';
  });
  if (source.name.empty() || !letters)
    throw config.error("name",
                       fmt::format("'{}': a name is of letters, digits, '_' and '-'", source.name));
  for (const std::string& pattern : one_or_more(config, "files")) {
    const std::vector<base::Path> files = files_of(config, "files", pattern);
    for (const base::Path& file : files)
      if (!base::is_utf8(file.string()))
        throw config.error("files", fmt::format("{}: the name is not UTF-8, as dataset.json needs "
                                                "it; give the file another",
                                                base::shown(file.string())));
    source.files.insert(source.files.end(), files.begin(), files.end());
  }
  std::sort(source.files.begin(), source.files.end());
  source.files.erase(std::unique(source.files.begin(), source.files.end()), source.files.end());
  for (const base::Path& file : source.files) {
    const std::string ending = file.extension();
    if (ending != ".gz" && ending != ".zst") continue;
    const base::Path plain = base::Path(file).replace_extension();
    if (!std::binary_search(source.files.begin(), source.files.end(), plain)) continue;
    throw config.error("files", fmt::format("{} and {} are both there, so their documents would be "
                                            "read twice; name one, or move the other away",
                                            plain.string(), file.string()));
  }
  const bool plain_text = is_second(config, "format", "jsonl", "text", false);
  source.format = plain_text ? Format::kText : Format::kJsonl;
  source.hold_out = is_second(config, "hold_out", "documents", "end", plain_text)
                        ? HoldOut::kEnd
                        : HoldOut::kDocuments;
  if (!plain_text) {
    source.text = config.get<std::string>("text", "text");
  } else if (config.has("text")) {
    throw config.error("text", "names a field of JSON lines, which format: text does not have");
  }
  source.filters = config.get<std::vector<std::string>>("filters", {});
  for (const std::string& filter : source.filters) {
    if (contains(kFilters, filter)) continue;
    if (contains(kLaterFilters, filter))
      throw config.error("filters",
                         fmt::format("'{}' is not available in this version; available: {}", filter,
                                     fmt::join(kFilters, ", ")));
    throw config.error("filters", fmt::format("unknown filter '{}'; available: {}", filter,
                                              fmt::join(kFilters, ", ")));
  }
  source.skip_bad_lines = is_second(config, "on_error", "stop", "skip", false);
  return source;
}

}  // namespace

DataConfig read_data_config(base::Config config) {
  DataConfig data;
  data.tokenizer = config.get<std::string>("tokenizer");
  data.output = config.get<std::string>("output");
  data.shard_tokens =
      base::get_whole(config, "shard_tokens", data.shard_tokens, 1, std::int64_t{1} << 31);
  data.validation = config.get<double>("validation", data.validation);
  if (!(data.validation >= 0 && data.validation < 1))
    throw config.error("validation",
                       fmt::format("{} is not a share: at least 0, below 1", data.validation));

  data.largest_document = bytes(config, "largest_document", data.largest_document);
  data.largest_piece = bytes(config, "largest_piece", data.largest_piece);

  base::Config exclude = config.map("exclude");
  data.exclude_tasks = exclude.get<std::vector<std::string>>("tasks", {});
  for (const std::string& pattern : exclude.get<std::vector<std::string>>("files", {}))
    for (const base::Path& file : files_of(exclude, "files", pattern))
      data.exclude_files.push_back(file.string());
  const bool any = !data.exclude_tasks.empty() || !data.exclude_files.empty();
  data.exclude_method = exclude.get<std::string>("method", any ? "ngram" : "none");
  if (!contains(kMethods, data.exclude_method))
    throw exclude.error("method",
                        fmt::format("'{}' is not available in this version; available: {}",
                                    data.exclude_method, fmt::join(kMethods, ", ")));
  if (data.exclude_method == "none" && any)
    throw exclude.error(
        "method", "none, but there are tasks or files to exclude: write ngram, or remove them");

  for (const base::Config& source : config.list("sources")) {
    data.sources.push_back(read_source(source));
    for (std::size_t i = 0; i + 1 < data.sources.size(); ++i)
      if (data.sources[i].name == data.sources.back().name)
        throw source.error("name", fmt::format("a second source named {}", data.sources[i].name));
  }
  if (data.sources.empty())
    throw config.error("sources", "no sources: a list of maps with name and files");
  config.finish();
  return data;
}

}  // namespace eyrie::data_pipeline
