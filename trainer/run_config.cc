// Reading RUN.yaml.
#include "trainer/run_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "text/task.h"
#include "trainer/bytes.h"

namespace eyrie::trainer {
namespace {

using base::Config;

std::int64_t at_least(Config& section, const std::string& key, std::int64_t value,
                      std::int64_t least) {
  if (value < least)
    throw section.error(key, fmt::format("{} is too small; it must be at least {}", value, least));
  return value;
}

double between(Config& section, const std::string& key, double value, double low, double high) {
  if (!(value >= low && value <= high)) {
    throw section.error(
        key, fmt::format("{} is out of range; it must lie in [{}, {}]", value, low, high));
  }
  return value;
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

// Words of the interface that this version does not carry out yet are refused by name, not ignored.
void only(Config& section, const std::string& key, const std::string& fallback) {
  const std::string value = section.get<std::string>(key, fallback);
  if (value != fallback) {
    throw section.error(
        key, fmt::format("'{}' is not available in this version; the only choice is '{}'", value,
                         fallback));
  }
}

ScheduleConfig read_schedule(Config section, std::int64_t steps) {
  ScheduleConfig schedule;
  schedule.peak = between(section, "peak", section.get<double>("peak", schedule.peak), 0, 10);
  schedule.final =
      between(section, "final", section.get<double>("final", schedule.peak / 10), 0, schedule.peak);
  schedule.warmup = at_least(section, "warmup", section.get<std::int64_t>("warmup", 0), 0);
  if (schedule.warmup > steps) {
    throw section.error("warmup", fmt::format("{} steps of warm-up in a stage of {} steps; at most "
                                              "{} fit",
                                              schedule.warmup, steps, steps));
  }
  schedule.shape =
      one_of(section, "shape", schedule.shape, {"cosine", "linear", "constant", "wsd"});
  if (schedule.shape == "wsd") {
    schedule.decay_share = between(section, "decay_share",
                                   section.get<double>("decay_share", schedule.decay_share), 0, 1);
  }
  return schedule;
}

void read_limits(Config section, StageConfig& stage) {
  if (!section.has("limit")) return;
  if (section.is_scalar("limit")) {
    stage.limits[""] = at_least(section, "limit", section.get<std::int64_t>("limit"), 1);
    return;
  }
  Config limits = section.map("limit");
  for (const auto& [task, limit] : limits.entries<std::int64_t>()) {
    if (std::find(stage.tasks.begin(), stage.tasks.end(), task) == stage.tasks.end()) {
      throw limits.error(task, fmt::format("not one of the tasks evaluated here: {}",
                                           fmt::join(stage.tasks, ", ")));
    }
    stage.limits[task] = at_least(limits, task, limit, 1);
  }
}

StageConfig read_stage(Config section) {
  StageConfig stage;
  stage.name = section.get<std::string>("name");
  if (stage.name.empty() || stage.name.find_first_of("/ \t") != std::string::npos) {
    throw section.error("name", "a stage's name is part of file names: no blanks and no slashes");
  }
  only(section, "objective", "next_token");
  stage.batch_sequences =
      at_least(section, "batch_sequences", section.get<std::int64_t>("batch_sequences"), 1);
  stage.micro_shards =
      at_least(section, "micro_shards", section.get<std::int64_t>("micro_shards", 8), 1);
  stage.sequence_length =
      at_least(section, "sequence_length", section.get<std::int64_t>("sequence_length"), 2);
  if (stage.batch_sequences % stage.micro_shards != 0) {
    throw section.error("micro_shards",
                        fmt::format("{} micro_shards do not divide batch_sequences {}",
                                    stage.micro_shards, stage.batch_sequences));
  }
  if (section.has("tokens")) {
    if (section.has("steps"))
      throw section.error("tokens", "give either steps or tokens, not both");
    const std::int64_t tokens = section.get<std::int64_t>("tokens");
    const std::int64_t a_step = stage.batch_sequences * stage.sequence_length;
    stage.steps = at_least(section, "tokens", (tokens + a_step - 1) / a_step, 1);
  } else {
    stage.steps = at_least(section, "steps", section.get<std::int64_t>("steps"), 1);
  }
  Config data = section.map("data");
  stage.shards = data.get<std::string>("shards");
  if (data.has("mixture")) {
    Config mixture = data.map("mixture");
    double all = 0;
    for (const auto& [source, weight] : mixture.entries<double>()) {
      all += between(mixture, source, weight, 0, 1e9);
      stage.mixture.emplace_back(source, weight);
    }
    if (!(all > 0)) throw data.error("mixture", "at least one source needs a weight above 0");
  }
  stage.best = between(data, "best", data.get<double>("best", 1.0), 1e-6, 1.0);
  stage.windows = one_of(data, "packing", "documents", {"documents", "windows"}) == "windows";
  stage.reset_moments = one_of(section, "moments", "keep", {"keep", "reset"}) == "reset";
  stage.learning_rate = read_schedule(section.map("learning_rate"), stage.steps);
  Config validate = section.map("validate");
  stage.validate_every = at_least(validate, "every", validate.get<std::int64_t>("every", 0), 0);
  stage.validate_sequences =
      at_least(validate, "sequences", validate.get<std::int64_t>("sequences", 64), 0);
  Config evaluate = section.map("evaluate");
  stage.tasks = evaluate.get<std::vector<std::string>>("tasks", {});
  only(evaluate, "every", "end");
  read_limits(evaluate, stage);
  return stage;
}

void read_mesh(Config mesh, parallel::MeshShape& shape) {
  const auto ranks = [&](const std::string& key, std::int64_t fallback) {
    const std::int64_t count = at_least(mesh, key, mesh.get<std::int64_t>(key, fallback), 1);
    return static_cast<int>(std::min<std::int64_t>(count, 1 << 20));
  };
  shape.data = mesh.get<std::string>("data", "auto") == "auto" ? 0 : ranks("data", 1);
  shape.context = ranks("context", 1);
  shape.tensor = ranks("tensor", 1);
  shape.sequence = mesh.get<bool>("sequence", false);
  shape.zero = static_cast<int>(at_least(mesh, "zero", mesh.get<std::int64_t>("zero", 1), 0));
  if (shape.zero > 3) {
    throw mesh.error("zero", fmt::format("{} is no stage of ZeRO; 1 shares out the optimizer's "
                                         "moments, 2 gradients too, 3 parameters too, 0 nothing",
                                         shape.zero));
  }
  shape.replicas = mesh.get<std::string>("replicas", "1") == "nodes" ? 0 : ranks("replicas", 1);
  shape.bf16_gradients = one_of(mesh, "gradients", "fp32", {"fp32", "bf16"}) == "bf16";
}

Retention read_retention(Config& checkpoint, std::int64_t best) {
  Retention retention;
  retention.keep = at_least(checkpoint, "keep", checkpoint.get<std::int64_t>("keep", 3), 1);
  retention.keep_every =
      at_least(checkpoint, "keep_every", checkpoint.get<std::int64_t>("keep_every", 0), 0);
  retention.best = at_least(checkpoint, "best", checkpoint.get<std::int64_t>("best", best), 0);
  return retention;
}

}  // namespace

Retention read_retention(const base::Path& path) {
  Config checkpoint = Config::read(path).map("checkpoint");
  return read_retention(checkpoint, 1);
}

std::int64_t RunConfig::total_steps() const {
  std::int64_t steps = 0;
  for (const StageConfig& stage : stages) steps += stage.steps;
  return steps;
}

RunConfig read_run(const base::Path& path, const std::vector<std::string>& assignments) {
  Config file = Config::read(path);
  for (const std::string& assignment : assignments) file.set(assignment);
  RunConfig run;
  run.name = file.get<std::string>("name");
  if (run.name.empty() || run.name.find_first_of("/ \t") != std::string::npos) {
    throw file.error("name", "a run's name is the name of its folder: no blanks and no slashes");
  }
  run.directory = file.get<std::string>("directory", "runs/" + run.name);
  run.seed = at_least(file, "seed", file.get<std::int64_t>("seed", 1), 0);
  run.model = model::read_model(file.map("model"));
  run.tokenizer = file.get<std::string>("tokenizer");
  if (file.get<std::string>("threads", "auto") != "auto") {
    run.threads = at_least(file, "threads", file.get<std::int64_t>("threads"), 1);
  }
  run.bf16 = one_of(file, "precision", "bf16", {"bf16", "fp32"}) == "bf16";
  const std::string device = one_of(file, "device", "auto", {"auto", "cpu", "cuda"});
  if (device == "cuda")
    throw file.error("device", "this build has no CUDA backend; use cpu or auto");
  read_mesh(file.map("mesh"), run.mesh);
  run.recompute = one_of(file, "recompute", "none", {"none", "blocks"}) == "blocks";
  Config optimizer = file.map("optimizer");
  only(optimizer, "name", "adamw");
  run.optimizer.beta1 =
      between(optimizer, "beta1", optimizer.get<double>("beta1", 0.9), 0, 0.999999);
  run.optimizer.beta2 =
      between(optimizer, "beta2", optimizer.get<double>("beta2", 0.95), 0, 0.999999);
  run.optimizer.epsilon =
      between(optimizer, "epsilon", optimizer.get<double>("epsilon", 1e-8), 0, 1);
  run.optimizer.weight_decay =
      between(optimizer, "weight_decay", optimizer.get<double>("weight_decay", 0.1), 0, 10);
  run.optimizer.clip = between(optimizer, "clip", optimizer.get<double>("clip", 1.0), 0, 1e9);
  run.optimizer.decay_all = one_of(optimizer, "decay", "matrices", {"matrices", "all"}) == "all";
  Config outliers = file.map("outliers");
  run.outliers.z_score =
      between(outliers, "z_score", outliers.get<double>("z_score", run.outliers.z_score), 0, 1e9);
  run.outliers.window =
      at_least(outliers, "window", outliers.get<std::int64_t>("window", run.outliers.window), 2);
  run.outliers.roll_back_after =
      at_least(outliers, "roll_back_after",
               outliers.get<std::int64_t>("roll_back_after", run.outliers.roll_back_after), 0);
  std::set<std::string> names;
  for (Config section : file.list("stages")) {
    run.stages.push_back(read_stage(section));
    if (!names.insert(run.stages.back().name).second)
      throw section.error("name", "two stages have this name");
  }
  if (run.stages.empty()) throw file.error("stages", "a run needs at least one stage");
  Config checkpoint = file.map("checkpoint");
  run.checkpoint_every =
      at_least(checkpoint, "every", checkpoint.get<std::int64_t>("every", 100), 1);
  const bool validates =
      std::any_of(run.stages.begin(), run.stages.end(),
                  [](const StageConfig& stage) { return stage.validate_sequences > 0; });
  run.retention = read_retention(checkpoint, validates ? 1 : 0);
  run.checkpoint_async = checkpoint.get<bool>("async", true);
  run.watchdog_seconds = at_least(file, "watchdog", file.get<std::int64_t>("watchdog", 600), 0);
  if (file.get<std::string>("memory_limit", "none") != "none")
    run.memory_limit = read_bytes(file, "memory_limit");
  run.evaluation_data =
      file.map("evaluation").get<std::string>("data", text::default_evaluation_data().string());
  file.finish();
  run.resolved = file.resolved();
  return run;
}

}  // namespace eyrie::trainer
