// RUN.yaml as structs: the whole configuration of a run.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/config.h"
#include "checkpoint/retention.h"
#include "model/config.h"
#include "model/recompute.h"
#include "parallel/sharding/mesh.h"
#include "trainer/outliers.h"

namespace eyrie::trainer {

// Learning rate over a stage; see schedule.h.
struct ScheduleConfig {
  double peak = 1e-3, final = 1e-4;
  std::int64_t warmup = 0;  // steps from 0 to peak
  std::string shape = "cosine";
  double decay_share = 0.2;  // wsd: the last fraction of steps, falling from peak to final
};

struct StageConfig {
  std::string name;
  std::string objective = "next_token";  // objectives/objective.h
  std::int64_t steps = 0;
  std::int64_t batch_sequences = 0, micro_shards = 0, sequence_length = 0;
  std::string shards;                                   // folder
  std::vector<std::pair<std::string, double>> mixture;  // source → weight; empty: equal weights
  double quality_fraction = 1.0;  // fraction of each source with the highest quality score
  bool windows = false;  // packing: rows cut anywhere in one long text; documents not kept apart
  bool reset_moments = false;
  ScheduleConfig learning_rate;
  std::int64_t validate_every = 0, validate_sequences = 0;  // every 0: at the stage's end only
  std::vector<std::string> tasks;                           // evaluated at the stage's end
  std::map<std::string, std::int64_t> limits;  // documents per leaf task, by task; "": all others
};

struct OptimizerConfig {
  double beta1 = 0.9, beta2 = 0.95, epsilon = 1e-8, weight_decay = 0.1, clip = 1.0;
  bool decay_all = false;
};

struct RunConfig {
  std::string name;
  std::string directory;  // runs/NAME, or as given
  std::int64_t seed = 1;
  model::GriffinConfig model;
  std::string tokenizer;
  std::int64_t threads = 0;  // 0: auto
  bool bf16 = true;
  parallel::MeshShape mesh;  // data 0: all ranks left; replicas 0: one per host (resolve_mesh.h)
  model::Recompute recompute = model::Recompute::kNone;
  bool recompute_auto = false;  // `recompute` is the least that the memory allows: planning sets it
  OptimizerConfig optimizer;
  OutlierConfig outliers;
  std::vector<StageConfig> stages;
  std::int64_t checkpoint_every = 100;
  checkpoint::Retention retention;
  bool checkpoint_async = true;         // written in the background
  std::int64_t watchdog_seconds = 600;  // of waiting or silence until the job ends; 0: never
  std::int64_t memory_limit = 0;        // bytes per rank; 0: none
  std::int64_t check_every = 0;  // steps between comparisons of ranks (silent_check.h); 0: never
  std::string evaluation_data;
  std::string resolved;                      // all of it as YAML, with defaults
  std::shared_ptr<const base::Config> file;  // as it was read; null if none was

  // Returns an error to throw for what is found wrong later: with file and line of the value at
  // `path` ("stages.0.data.mixture"), or the path alone if no file was read.
  base::InputError error(const std::string& path, const std::string& message) const;
  std::int64_t total_steps() const;
  std::vector<std::int64_t> stage_ends() const;  // the step of the run at which each stage ends
};

// Reads only the retention from a RUN.yaml or a run's run.yaml. If the file does not say, `best` is
// 1.
checkpoint::Retention read_retention(const base::Path& path);

// Reads the file, applies "key.path=value" assignments and checks the result. Throws InputError
// naming file, line, key and what to do.
RunConfig read_run(const base::Path& path, const std::vector<std::string>& assignments);

}  // namespace eyrie::trainer
