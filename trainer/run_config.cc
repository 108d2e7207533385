// Reads RUN.yaml.
#include "trainer/run_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/checked.h"
#include "base/config_range.h"
#include "text/task.h"
#include "trainer/bytes.h"
#include "trainer/objectives/objective.h"

namespace eyrie::trainer {
namespace {

using base::Config;

constexpr std::int64_t kMostSteps = 1'000'000'000'000;
constexpr std::int64_t kMostTokens = std::int64_t{1} << 31;  // of a sequence, or of a micro-shard
constexpr std::int64_t kMostRanks = 1 << 20;

// Reads the name of a run or stage, which is also a folder's name.
std::string folder_name(Config& section, const char* what) {
  const std::string name = section.get<std::string>("name");
  const auto unfit = [](unsigned char c) { return c <= ' ' || c == '/' || c == 0x7F; };
  if (name.empty() || name == "." || name == ".." || std::any_of(name.begin(), name.end(), unfit))
    throw section.error("name", fmt::format("{}: no blanks and no slashes", what));
  return name;
}

// Reads a learning rate: 0, or a number that is not too small for fp32.
double rate_in(Config& section, const std::string& key, double fallback, double most) {
  const double rate = base::get_number(section, key, fallback, 0, most);
  if (rate > 0 && rate < 1e-20)
    throw section.error(key, fmt::format("{} is next to nothing; write 0 to learn nothing", rate));
  return rate;
}

std::string one_of(Config& section, const std::string& key, const std::string& fallback,
                   const std::vector<std::string>& choices) {
  const std::string value = section.get<std::string>(key, fallback);
  if (std::find(choices.begin(), choices.end(), value) == choices.end()) {
    throw section.error(key,
                        fmt::format("'{}' is not one of: {}", value, fmt::join(choices, ", ")));
  }
  return value;
}

// none, mlp, blocks or auto; or a list of what is computed again: [mlp].
void read_recompute(Config& file, RunConfig& run) {
  using model::Recompute;
  if (file.has("recompute") && !file.is_scalar("recompute")) {
    for (const std::string& what : file.get<std::vector<std::string>>("recompute")) {
      if (what != "mlp") {
        throw file.error("recompute", fmt::format("'{}' is not one of: mlp (for all of a block "
                                                  "write recompute: blocks)",
                                                  what));
      }
      run.recompute = Recompute::kMlp;
    }
    return;
  }
  const std::string value = one_of(file, "recompute", "none", {"none", "mlp", "blocks", "auto"});
  run.recompute_auto = value == "auto";
  if (value == "mlp") run.recompute = Recompute::kMlp;
  if (value == "blocks") run.recompute = Recompute::kBlocks;
}

// Rejects values of the interface that this version does not support yet, instead of ignoring them.
void only(Config& section, const std::string& key, const std::string& fallback) {
  const std::string value = section.get<std::string>(key, fallback);
  if (value != fallback) {
    throw section.error(
        key, fmt::format("'{}' is not available in this version; the only choice is '{}'", value,
                         fallback));
  }
}

ScheduleConfig read_schedule(Config& stage, std::int64_t steps) {
  Config section = stage.map("learning_rate");
  ScheduleConfig schedule;
  schedule.peak = rate_in(section, "peak", schedule.peak, 10);
  schedule.final = rate_in(section, "final", schedule.peak / 10, 10);
  if (schedule.final > schedule.peak) {
    throw section.error_at({"final", "peak"},
                           fmt::format("final {} is out of range; it must lie in [0, {}], the peak",
                                       schedule.final, schedule.peak));
  }
  schedule.warmup = base::get_whole(section, "warmup", 0, 0, kMostSteps);
  if (schedule.warmup > steps) {
    throw stage.error_at(
        {"learning_rate.warmup", "steps", "tokens"},
        fmt::format("{} steps of warm-up (learning_rate.warmup) in a stage of {} steps; at most {} "
                    "fit",
                    schedule.warmup, steps, steps));
  }
  schedule.shape =
      one_of(section, "shape", schedule.shape, {"cosine", "linear", "constant", "wsd"});
  if (schedule.shape == "wsd")
    schedule.decay_share = base::get_number(section, "decay_share", schedule.decay_share, 0, 1);
  return schedule;
}

void read_limits(Config section, StageConfig& stage) {
  if (!section.has("limit")) return;
  if (section.is_scalar("limit")) {
    stage.limits[""] = base::get_whole(section, "limit", 1, base::kLargestWhole);
    return;
  }
  Config limits = section.map("limit");
  for (const auto& [task, limit] : limits.entries<std::int64_t>()) {
    if (std::find(stage.tasks.begin(), stage.tasks.end(), task) == stage.tasks.end()) {
      throw limits.error(task, fmt::format("not one of the tasks evaluated here: {}",
                                           fmt::join(stage.tasks, ", ")));
    }
    stage.limits[task] = base::in_range(limits, task, limit, 1, base::kLargestWhole);
  }
}

// Reads the steps of a stage and checks that its token counts do not overflow.
void read_length(Config& section, StageConfig& stage) {
  stage.batch_sequences = base::get_whole(section, "batch_sequences", 1, kMostTokens);
  stage.micro_shards = base::get_whole(section, "micro_shards", 8, 1, kMostRanks);
  stage.sequence_length = base::get_whole(section, "sequence_length", 2, kMostTokens);
  if (stage.batch_sequences % stage.micro_shards != 0) {
    throw section.error_at({"micro_shards", "batch_sequences"},
                           fmt::format("{} micro_shards do not divide batch_sequences {}",
                                       stage.micro_shards, stage.batch_sequences));
  }
  const std::vector<std::string> sizes = {"batch_sequences", "sequence_length", "micro_shards"};
  std::int64_t a_step = 0;
  try {
    base::checked_product("the tokens of a micro-shard",
                          {stage.batch_sequences / stage.micro_shards, stage.sequence_length},
                          kMostTokens);
    a_step = stage.batch_sequences * stage.sequence_length;
  } catch (const base::InputError& error) {
    throw section.error_at(sizes, error.what());
  }
  if (section.has("tokens")) {
    if (section.has("steps"))
      throw section.error_at({"tokens", "steps"}, "give either steps or tokens, not both");
    const std::int64_t tokens = base::get_whole(section, "tokens", 1, base::kLargestWhole);
    stage.steps = tokens / a_step + (tokens % a_step == 0 ? 0 : 1);
    if (stage.steps > kMostSteps)
      throw section.error("tokens", fmt::format("{} are {} steps of {}; at most {} steps can be",
                                                tokens, stage.steps, a_step, kMostSteps));
  } else {
    stage.steps = base::get_whole(section, "steps", 1, kMostSteps);
  }
  try {
    base::checked_product("the tokens of the stage", {stage.steps, a_step},
                          base::kLargestWhole / 64);
  } catch (const base::InputError& error) {
    throw section.error_at({"steps", "tokens", "batch_sequences", "sequence_length"}, error.what());
  }
}

StageConfig read_stage(Config section) {
  StageConfig stage;
  stage.name = folder_name(section, "a stage's name is part of file names");
  stage.objective = one_of(section, "objective", "next_token", objective_names());
  read_length(section, stage);
  Config data = section.map("data");
  stage.shards = data.get<std::string>("shards");
  if (data.has("mixture")) {
    Config mixture = data.map("mixture");
    double all = 0;
    for (const auto& [source, weight] : mixture.entries<double>()) {
      all += base::in_range(mixture, source, weight, 0.0, 1e9);
      stage.mixture.emplace_back(source, weight);
    }
    if (!(all > 0)) throw data.error("mixture", "at least one source needs a weight above 0");
  }
  stage.quality_fraction = base::get_number(data, "best", 1.0, 1e-6, 1.0);
  stage.windows = one_of(data, "packing", "documents", {"documents", "windows"}) == "windows";
  stage.reset_moments = one_of(section, "moments", "keep", {"keep", "reset"}) == "reset";
  stage.learning_rate = read_schedule(section, stage.steps);
  Config validate = section.map("validate");
  stage.validate_every = base::get_whole(validate, "every", 0, 0, kMostSteps);
  stage.validate_sequences = base::get_whole(validate, "sequences", 64, 0, kMostTokens);
  Config evaluate = section.map("evaluate");
  stage.tasks = evaluate.get<std::vector<std::string>>("tasks", {});
  only(evaluate, "every", "end");
  read_limits(evaluate, stage);
  return stage;
}

void read_mesh(Config mesh, parallel::MeshShape& shape) {
  const auto ranks = [&](const std::string& key) {
    return static_cast<int>(base::get_whole(mesh, key, 1, 1, kMostRanks));
  };
  shape.data = mesh.get<std::string>("data", "auto") == "auto" ? 0 : ranks("data");
  shape.context = ranks("context");
  shape.tensor = ranks("tensor");
  try {
    base::checked_product("the ranks of the mesh",
                          {std::max(shape.data, 1), shape.context, shape.tensor}, kMostRanks);
  } catch (const base::InputError& error) {
    throw mesh.error_at({"data", "context", "tensor"}, error.what());
  }
  shape.sequence = mesh.get<bool>("sequence", false);
  const std::int64_t zero = base::get_whole(mesh, "zero", 1, 0, base::kLargestWhole);
  if (zero > 3) {
    throw mesh.error("zero", fmt::format("{} is no stage of ZeRO; 1 shares out the optimizer's "
                                         "moments, 2 gradients too, 3 parameters too, 0 nothing",
                                         zero));
  }
  shape.zero = static_cast<int>(zero);
  shape.replicas = mesh.get<std::string>("replicas", "1") == "nodes" ? 0 : ranks("replicas");
  shape.bf16_gradients = one_of(mesh, "gradients", "fp32", {"fp32", "bf16"}) == "bf16";
}

// `stage_ends`: the steps at which the run's stages end.
checkpoint::Retention read_retention(Config& checkpoint, std::int64_t best,
                                     std::vector<std::int64_t> stage_ends) {
  checkpoint::Retention retention;
  retention.keep = base::get_whole(checkpoint, "keep", 3, 1, kMostSteps);
  retention.keep_every = base::get_whole(checkpoint, "keep_every", 0, 0, kMostSteps);
  retention.best = base::get_whole(checkpoint, "best", best, 0, kMostSteps);
  if (checkpoint.get<bool>("keep_stage_ends", true)) retention.stage_ends = std::move(stage_ends);
  return retention;
}

}  // namespace

checkpoint::Retention read_retention(const base::Path& path) {
  Config file = Config::read(path);
  std::vector<std::int64_t> ends;
  for (Config stage : file.list("stages"))
    ends.push_back((ends.empty() ? 0 : ends.back()) +
                   base::get_whole(stage, "steps", 1, kMostSteps));
  Config checkpoint = file.map("checkpoint");
  return read_retention(checkpoint, 1, std::move(ends));
}

std::int64_t RunConfig::total_steps() const { return stages.empty() ? 0 : stage_ends().back(); }

std::vector<std::int64_t> RunConfig::stage_ends() const {
  std::vector<std::int64_t> ends;
  std::int64_t steps = 0;
  for (const StageConfig& stage : stages) ends.push_back(steps += stage.steps);
  return ends;
}

base::InputError RunConfig::error(const std::string& path, const std::string& message) const {
  return file ? file->error_at({path}, message) : base::InputError(path + ": " + message);
}

namespace {

void read_optimizer(Config optimizer, OptimizerConfig& to) {
  only(optimizer, "name", "adamw");
  to.beta1 = base::get_number(optimizer, "beta1", 0.9, 0, 0.999999);
  to.beta2 = base::get_number(optimizer, "beta2", 0.95, 0, 0.999999);
  // Not 0: gradients that are 0, as of tokens that are not in the batch, would be divided by it.
  to.epsilon = base::get_number(optimizer, "epsilon", 1e-8, 1e-20, 1);
  to.weight_decay = base::get_number(optimizer, "weight_decay", 0.1, 0, 10);
  to.clip = base::get_number(optimizer, "clip", 1.0, 0, 1e9);
  to.decay_all = one_of(optimizer, "decay", "matrices", {"matrices", "all"}) == "all";
}

void read_stages(Config& file, RunConfig& run) {
  std::set<std::string> names;
  std::int64_t tokens = 0;
  for (const Config& section : file.list("stages")) {
    run.stages.push_back(read_stage(section));
    const StageConfig& stage = run.stages.back();
    if (!names.insert(stage.name).second) throw section.error("name", "two stages have this name");
    const auto all =
        base::sum({tokens, stage.steps * stage.batch_sequences * stage.sequence_length});
    if (!all) throw section.error("steps", "the run's tokens up to this stage are more than 2^63");
    tokens = *all;
  }
  if (run.stages.empty()) throw file.error("stages", "a run needs at least one stage");
}

// Rejects sizes that no machine can hold before they are planned, where sums might overflow 64
// bits. A rank keeps at least its part of the residual stream of every layer.
void check_size(const Config& file, const RunConfig& run) {
  constexpr double kMostBytes = 1e15;
  for (std::size_t i = 0; i < run.stages.size(); ++i) {
    const StageConfig& stage = run.stages[i];
    const double tokens = static_cast<double>(stage.batch_sequences / stage.micro_shards) *
                          static_cast<double>(stage.sequence_length) / run.mesh.context /
                          run.mesh.tensor;
    const double bytes = 4 * tokens * static_cast<double>(run.model.width) *
                         static_cast<double>(run.model.layers.size());
    if (bytes <= kMostBytes) continue;
    const std::string at = fmt::format("stages.{}.", i);
    throw file.error_at(
        {at + "batch_sequences", at + "sequence_length", at + "micro_shards"},
        fmt::format("micro-shards of {:.3g} tokens on a rank need more than {}; at "
                    "most {} can be",
                    tokens, bytes_text(static_cast<std::int64_t>(std::min(bytes, 9e18))),
                    bytes_text(static_cast<std::int64_t>(kMostBytes))));
  }
}

}  // namespace

RunConfig read_run(const base::Path& path, const std::vector<std::string>& assignments) {
  Config file = Config::read(path);
  for (const std::string& assignment : assignments) file.set(assignment);
  RunConfig run;
  run.name = folder_name(file, "a run's name is the name of its folder");
  run.directory = file.get<std::string>("directory", "runs/" + run.name);
  if (run.directory.empty()) throw file.error("directory", "an empty text is no folder");
  run.seed = base::get_whole(file, "seed", 1, 0, base::kLargestWhole);
  run.model = model::read_model(file.map("model"));
  run.tokenizer = file.get<std::string>("tokenizer");
  if (file.get<std::string>("threads", "auto") != "auto")
    run.threads = base::get_whole(file, "threads", 1, 4096);
  run.bf16 = one_of(file, "precision", "bf16", {"bf16", "fp32"}) == "bf16";
  const std::string device = one_of(file, "device", "auto", {"auto", "cpu", "cuda"});
  if (device == "cuda")
    throw file.error("device", "this build has no CUDA backend; use cpu or auto");
  read_mesh(file.map("mesh"), run.mesh);
  read_recompute(file, run);
  read_optimizer(file.map("optimizer"), run.optimizer);
  Config outliers = file.map("outliers");
  run.outliers.z_score = base::get_number(outliers, "z_score", run.outliers.z_score, 0, 1e9);
  run.outliers.window = base::get_whole(outliers, "window", run.outliers.window, 2, 1 << 20);
  run.outliers.roll_back_after =
      base::get_whole(outliers, "roll_back_after", run.outliers.roll_back_after, 0, kMostSteps);
  read_stages(file, run);
  Config checkpoint = file.map("checkpoint");
  run.checkpoint_every = base::get_whole(checkpoint, "every", 100, 1, kMostSteps);
  const bool validates =
      std::any_of(run.stages.begin(), run.stages.end(),
                  [](const StageConfig& stage) { return stage.validate_sequences > 0; });
  run.retention = read_retention(checkpoint, validates ? 1 : 0, run.stage_ends());
  run.checkpoint_async = checkpoint.get<bool>("async", true);
  run.watchdog_seconds = base::get_whole(file, "watchdog", 600, 0, 100'000'000);
  run.check_every = base::get_whole(file, "check_every", 0, 0, kMostSteps);
  if (file.get<std::string>("memory_limit", "none") != "none")
    run.memory_limit = read_bytes(file, "memory_limit", 1'000'000);
  run.evaluation_data =
      file.map("evaluation").get<std::string>("data", text::default_evaluation_data().string());
  file.finish();
  check_size(file, run);
  run.resolved = file.resolved();
  run.file = std::make_shared<const Config>(file);
  return run;
}

}  // namespace eyrie::trainer
