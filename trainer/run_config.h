// RUN.yaml bound to structs: everything that a run is, before any rank does anything.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/config.h"
#include "model/config.h"
#include "parallel/mesh.h"
#include "trainer/checkpoint_retention.h"
#include "trainer/outliers.h"

namespace eyrie::trainer {

// Learning rate over a stage; see schedule.h.
struct ScheduleConfig {
  double peak = 1e-3, final = 1e-4;
  std::int64_t warmup = 0;  // steps from 0 to peak
  std::string shape = "cosine";
  double decay_share = 0.2;  // wsd: the last share of the steps falls from peak to final
};

struct StageConfig {
  std::string name;
  std::int64_t steps = 0;
  std::int64_t batch_sequences = 0, micro_shards = 0, sequence_length = 0;
  std::string shards;                                   // folder
  std::vector<std::pair<std::string, double>> mixture;  // source → weight; empty: all alike
  double best = 1.0;     // share of each source with the highest quality score
  bool windows = false;  // packing: rows cut anywhere in one long text, not documents kept apart
  bool reset_moments = false;
  ScheduleConfig learning_rate;
  std::int64_t validate_every = 0, validate_sequences = 0;  // every 0: at the stage's end only
  std::vector<std::string> tasks;                           // evaluated at the stage's end
  std::map<std::string, std::int64_t>
      limits;  // documents a leaf task, by task; "" stands for all others
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
  parallel::MeshShape mesh;  // data 0: all that is left; replicas 0: one a host (fit_mesh.h)
  bool recompute = false;    // blocks again before their backward pass, instead of keeping them
  OptimizerConfig optimizer;
  OutlierConfig outliers;
  std::vector<StageConfig> stages;
  std::int64_t checkpoint_every = 100;
  Retention retention;
  bool checkpoint_async = true;         // written behind the training
  std::int64_t watchdog_seconds = 600;  // of waiting or silence that end the job; 0: never
  std::int64_t memory_limit = 0;        // bytes of a rank; 0: none
  std::string evaluation_data;
  std::string resolved;                      // the whole as YAML, defaults written out
  std::shared_ptr<const base::Config> file;  // as it was read; null where nothing was

  // To be thrown for what is found wrong later: with file and line of the value at `path`
  // ("stages.0.data.mixture"), or the path alone where no file was read.
  base::InputError error(const std::string& path, const std::string& message) const;
  std::int64_t total_steps() const;
};

// The retention that a RUN.yaml or a run's run.yaml asks for; looks at nothing else in it. Of a
// file that does not say: the default of `best` is 1.
Retention read_retention(const base::Path& path);

// Reads, applies "key.path=value" assignments, checks. InputError names file, line, key and what to
// do.
RunConfig read_run(const base::Path& path, const std::vector<std::string>& assignments);

}  // namespace eyrie::trainer
