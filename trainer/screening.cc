// Reads the summaries of the shards that a run names.
#include "trainer/screening.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "base/config.h"
#include "data_pipeline/dataset.h"

namespace eyrie::trainer {
namespace {

// "piqa, hellaswag and 55 more".
std::string listed(std::vector<std::string> names) {
  constexpr std::size_t kMost = 5;
  const std::size_t more = names.size() > kMost ? names.size() - kMost : 0;
  names.resize(names.size() - more);
  return fmt::format("{}{}", fmt::join(names, ", "),
                     more > 0 ? fmt::format(" and {} more", more) : "");
}

}  // namespace

std::vector<std::string> screening_warnings(const std::string& run,
                                            const text::TaskContents& tasks) {
  std::set<std::string> folders;
  for (const auto& [key, value] :
       base::Config::parse(run, "the configuration of the run").values()) {
    if (key.starts_with("stages.") && key.ends_with(".data.shards")) folders.insert(value);
  }
  std::vector<std::string> warnings;
  for (const std::string& folder : folders) {
    if (!std::filesystem::exists(base::Path(folder) / data_pipeline::kDatasetFile)) continue;
    data_pipeline::Dataset dataset;
    try {
      dataset = data_pipeline::read_dataset(folder);
    } catch (const base::InputError& error) {
      warnings.push_back(error.what());
      continue;
    }
    std::vector<std::string> never, otherwise;
    for (const auto& [task, splits] : tasks) {
      const auto& screened = dataset.screened_tasks;
      if (std::find(screened.begin(), screened.end(), task) == screened.end()) {
        never.push_back(task);
        continue;
      }
      const auto there = dataset.contents.find(task);
      if (there == dataset.contents.end()) continue;
      const bool same = std::all_of(splits.begin(), splits.end(), [&](const auto& split) {
        const auto found = there->second.find(split.first);
        return found != there->second.end() && found->second == split.second;
      });
      if (!same) otherwise.push_back(task);
    }
    const std::string what = "the model was trained on the shards in " + folder;
    if (!never.empty())
      warnings.push_back(fmt::format(
          "{}, which were not screened for {}: it may have seen the answers", what, listed(never)));
    if (!otherwise.empty())
      warnings.push_back(fmt::format(
          "{}, which were screened for another edition of {}: it may have seen the answers", what,
          listed(otherwise)));
  }
  return warnings;
}

}  // namespace eyrie::trainer
