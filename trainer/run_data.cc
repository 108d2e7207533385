// Opens the data of a run.
#include "trainer/run_data.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>

#include "data_pipeline/local_copy.h"
#include "text/task.h"
#include "text/task_content.h"

namespace eyrie::trainer {
namespace {

data_pipeline::Packing packing_of(const StageConfig& stage) {
  return stage.windows ? data_pipeline::Packing::kWindows : data_pipeline::Packing::kDocuments;
}

data_pipeline::StreamConfig stream_config(const RunConfig& run, std::size_t index) {
  const StageConfig& stage = run.stages[index];
  data_pipeline::StreamConfig config;
  config.mixture = stage.mixture;
  config.quality_fraction = stage.quality_fraction;
  config.sequence_length = stage.sequence_length;
  config.batch_sequences = stage.batch_sequences;
  config.micro_shards = stage.micro_shards;
  config.seed = static_cast<std::uint64_t>(run.seed);
  config.stage = stage.name;
  config.packing = packing_of(stage);
  return config;
}

// Every task that any stage evaluates: all data must have been screened for all of them.
std::vector<std::string> all_tasks(const RunConfig& run) {
  std::vector<std::string> tasks;
  for (const StageConfig& stage : run.stages) {
    for (const std::string& task : stage.tasks) {
      if (std::find(tasks.begin(), tasks.end(), task) == tasks.end()) tasks.push_back(task);
    }
  }
  return tasks;
}

// Runs `work`; its errors then name the key of the configuration, with file and line.
void named(const RunConfig& run, const std::string& key, const std::function<void()>& work) {
  try {
    work();
  } catch (const base::InputError& error) {
    throw run.error(key, error.what());
  } catch (const base::Error& error) {  // what cannot be read, whatever the cause
    throw base::Error(run.error(key, error.what()).what());
  }
}

// Adds leaf tasks by task, and the contents of their documents. Tasks that are unknown, and files
// that are missing or damaged, must be reported now, not after a stage.
void add_tasks(const RunConfig& run, data_pipeline::DataNeeds& needs) {
  const text::TaskPlaces places{run.evaluation_data, {}};
  text::TaskCatalog catalog;
  const auto add = [&](const text::Task& leaf, const std::string& split) {
    auto& contents = needs.contents[leaf.name()];
    if (!contents.contains(split)) contents[split] = text::content_of(leaf.items(split));
  };
  for (std::size_t i = 0; i < run.stages.size(); ++i) {
    for (const std::string& task : run.stages[i].tasks) {
      if (needs.leaf_tasks.contains(task)) continue;
      if (needs.leaf_tasks.empty()) catalog = text::read_tasks({});
      named(run, fmt::format("stages.{}.evaluate.tasks", i), [&] {
        for (const auto& leaf : text::open_tasks(task, catalog, places)) {
          needs.leaf_tasks[task].push_back(leaf->name());
          add(*leaf, leaf->definition().evaluated_split());
          if (leaf->definition().shots > 0) add(*leaf, leaf->definition().shot_split());
        }
      });
    }
  }
}

}  // namespace

std::vector<std::string> RunData::fingerprints() const {
  std::vector<std::string> all;
  for (const auto& stream : streams) all.push_back(stream->fingerprint());
  return all;
}

std::vector<const data_pipeline::ShardSet*> RunData::shards() const {
  std::vector<const data_pipeline::ShardSet*> all;
  for (const auto& stream : streams) all.push_back(&stream->shards());
  return all;
}

RunData open_run_data(const RunConfig& run, const base::Path& local_shards) {
  RunData data;
  named(run, "tokenizer", [&] { data.tokenizer = text::open_tokenizer(run.tokenizer); });
  if (data.tokenizer->size() > run.model.vocabulary) {
    throw run.error("model.vocabulary",
                    fmt::format("tokenizer {} has {} pieces, but model.vocabulary is {}; set it to "
                                "at least {}",
                                run.tokenizer, data.tokenizer->size(), run.model.vocabulary,
                                data.tokenizer->size()));
  }
  data_pipeline::DataNeeds needs{run.tokenizer, data.tokenizer->hash(), all_tasks(run)};
  needs.vocabulary = data.tokenizer->size();
  add_tasks(run, needs);
  for (std::size_t i = 0; i < run.stages.size(); ++i) {
    std::shared_ptr<const data_pipeline::ShardSet> shards;
    named(run, fmt::format("stages.{}.data.shards", i), [&] {
      const base::Path folder = run.stages[i].shards;
      shards = data_pipeline::ShardSet::open(
          folder, needs,
          local_shards.empty() ? base::Path{} : data_pipeline::local_copy_of(folder, local_shards));
    });
    if (!shards->warning().empty() && std::find(data.warnings.begin(), data.warnings.end(),
                                                shards->warning()) == data.warnings.end())
      data.warnings.push_back(shards->warning());
    auto config = stream_config(run, i);
    if (config.mixture.empty()) {  // equal weights
      for (const auto& source : shards->sources()) config.mixture.emplace_back(source.name, 1.0);
    }
    named(run, fmt::format("stages.{}.data", i), [&] {
      data.streams.push_back(std::make_unique<data_pipeline::NextTokenStream>(shards, config));
    });
    data.objectives.push_back(make_objective(run.stages[i].objective));
    data.held_out.push_back(std::make_unique<data_pipeline::ValidationStream>(
        shards, run.stages[i].sequence_length, packing_of(run.stages[i])));
  }
  return data;
}

}  // namespace eyrie::trainer
