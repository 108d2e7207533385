// Facts of a run.
#include "trainer/run_facts.h"

#include <fmt/format.h>

#include <set>

#include "base/config.h"
#include "base/hash.h"
#include "base/listing.h"
#include "base/version.h"
#include "text/task.h"

namespace eyrie::trainer {

parallel::Facts start_facts(const RunConfig& run, const TrainOptions& options) {
  parallel::Facts facts = {{"the version of eyrie", base::kVersion},
                           {"--check", options.check ? "given" : "not given"},
                           {"--fresh", options.fresh ? "given" : "not given"},
                           {"--until-stage", options.until_stage},
                           {"--stop-after", std::to_string(options.stop_after)}};
  if (run.resolved.empty()) return facts;
  for (const auto& [path, value] : base::Config::parse(run.resolved, "the configuration").values())
    if (path != "evaluation.data" && path != "directory") facts.emplace_back(path, value);
  return facts;
}

parallel::Facts data_facts(const RunConfig& run, const RunData& data) {
  parallel::Facts facts = {{"the tokenizer " + run.tokenizer, data.tokenizer->hash()}};
  for (std::size_t i = 0; i < run.stages.size(); ++i) {
    const auto& shards = data.streams[i]->shards();
    for (const auto& source : shards.sources())
      facts.emplace_back(fmt::format("stages.{}.data.shards: source {} of the shards in {}", i,
                                     source.name, shards.directory().string()),
                         shards.fingerprint({source.name}));
  }
  std::set<std::string> tasks, files;
  for (const StageConfig& stage : run.stages) tasks.insert(stage.tasks.begin(), stage.tasks.end());
  if (tasks.empty()) return facts;
  for (const base::Path& file : base::list_folder(text::own_task_directory()))
    if (file.extension() == ".yaml")
      facts.emplace_back("the task file " + file.filename().string(),
                         base::hex(base::hash_text(base::read_file(file))));
  const text::TaskPlaces places{run.evaluation_data, {}};
  const text::TaskCatalog catalog = text::read_tasks({});
  for (const std::string& task : tasks)
    for (const auto& leaf : text::open_tasks(task, catalog, places))
      for (const auto& split : leaf->definition().data)
        for (const std::string& file : {split.file, split.labels})
          if (!file.empty()) files.insert(file);
  for (const std::string& file : files) {
    const base::Path path = text::find_data(run.evaluation_data, file);
    // A pool of shots that no task draws from may be missing; whether it exists is a fact too.
    facts.emplace_back(
        "the evaluation data " + file,
        path.empty() ? "not there" : base::hex(base::hash_text(base::read_file(path))));
  }
  return facts;
}

}  // namespace eyrie::trainer
