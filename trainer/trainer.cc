// The training loop.
#include "trainer/trainer.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <ctime>
#include <filesystem>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <set>

#include "base/log.h"
#include "data_pipeline/stream.h"
#include "model/scorer.h"
#include "parallel/stop.h"
#include "parallel/watch.h"
#include "tensor/ops/matmul.h"
#include "tensor/threads.h"
#include "text/task.h"
#include "trainer/checkpoint.h"
#include "trainer/fit_mesh.h"
#include "trainer/memory_limit.h"
#include "trainer/metrics.h"
#include "trainer/optimizer.h"
#include "trainer/schedule.h"
#include "trainer/validation.h"

namespace eyrie::trainer {
namespace {

using data_pipeline::BatchStream;
using nlohmann::json;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double peak_memory_mb() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024.0;
}

std::string host_name() {
  char host[256] = {};
  gethostname(host, sizeof host - 1);
  return host;
}

std::string clock_text(double seconds) {
  const auto whole = static_cast<std::int64_t>(seconds);
  return whole >= 3600 ? fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60)
                       : fmt::format("{}:{:02}", whole / 60, whole % 60);
}

data_pipeline::Packing packing_of(const StageConfig& stage) {
  return stage.windows ? data_pipeline::Packing::kWindows : data_pipeline::Packing::kDocuments;
}

data_pipeline::StreamConfig stream_config(const RunConfig& run, std::size_t index) {
  const StageConfig& stage = run.stages[index];
  data_pipeline::StreamConfig config;
  config.mixture = stage.mixture;
  config.best = stage.best;
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

// Of this rank's threads. Measured once a process: in-process ranks share the figure.
double matmul_peak(tensor::DType dtype) {
  static std::mutex mutex;
  static std::map<std::pair<tensor::DType, int>, double> known;
  const std::lock_guard<std::mutex> lock(mutex);
  double& peak = known[{dtype, tensor::thread_count()}];
  if (peak == 0) peak = tensor::measure_matmul_peak(dtype);
  return peak;
}

// A run whose checkpoints are all damaged must not be begun anew in their place: its saves would
// replace what may still be got out of them. Saves that were never finished do not count: a run
// that died in its first save begins again.
void refuse_damaged_run(const base::Path& run) {
  std::vector<std::string> damaged;
  for (const CheckpointInfo& info : list_checkpoints(run / "checkpoints"))
    if (info.complete) damaged.push_back(info.path.filename().string());
  if (damaged.empty()) return;
  throw base::InputError(fmt::format(
      "{}: no checkpoint there is sound (damaged: {}; the warnings above say how). Put back a copy "
      "of one of them to go on from it, or give this run another name to train it from the start",
      (run / "checkpoints").string(), fmt::join(damaged, ", ")));
}

int count_hosts(parallel::Communicator& world) {
  const auto hosts = world.all_gather(host_name());
  return static_cast<int>(std::set<std::string>(hosts.begin(), hosts.end()).size());
}

class Trainer {
 public:
  Trainer(const RunConfig& run, parallel::Communicator& world, const TrainOptions& options)
      : run_(run), world_(world), options_(options), directory_(run.directory) {}

  void open();  // everything that can be wrong is found here
  void resume_or_begin();
  Outcome run(const AfterStage& after_stage);
  void finish() { watch_->finish(); }  // the ranks may leave

 private:
  void make_model(const parallel::MeshShape& shape);
  void open_data();
  void step(const StageConfig& stage);
  void log_step(const StageConfig& stage);
  void validate(const StageConfig& stage);
  void save();
  void load(const base::Path& checkpoint);
  void finish_stage(const StageConfig& stage, const AfterStage& after_stage);
  std::string state_json() const;
  bool first() const { return world_.rank() == 0; }

  const RunConfig& run_;
  parallel::Communicator& world_;
  const TrainOptions& options_;
  const base::Path directory_;
  std::unique_ptr<parallel::Mesh> mesh_;
  std::unique_ptr<model::Griffin> griffin_;
  std::unique_ptr<model::Griffin> reader_;  // the same weights, but whole sequences: evaluation
  std::unique_ptr<model::Parameters> parameters_;
  std::unique_ptr<Optimizer> optimizer_;
  model::Workspace workspace_;
  std::shared_ptr<const text::Tokenizer> tokenizer_;
  std::vector<std::unique_ptr<BatchStream>> streams_;                       // by stage
  std::vector<std::unique_ptr<data_pipeline::ValidationStream>> held_out_;  // by stage
  std::unique_ptr<Metrics> metrics_;
  std::unique_ptr<parallel::PeerWatch> watch_;
  double peak_flops_ = 0;

  // Where the run stands: after `step_` steps in all, `stage_step_` of them in stage `stage_`.
  std::int64_t step_ = 0, stage_step_ = 0, tokens_ = 0;
  std::size_t stage_ = 0;
  bool fresh_ = true;  // nothing was loaded

  // Of the last step.
  double loss_ = 0, grad_norm_ = 0, rate_ = 0, step_s_ = 0, data_s_ = 0, exchange_s_ = 0,
         checkpoint_s_ = 0, memory_mb_ = 0, exchange_bytes_ = 0;
  std::int64_t renewal_bytes_ = 0;  // this rank sent after it
  bool stop_ = false;
  std::int64_t steps_here_ = 0;
  Clock::time_point last_line_{}, began_{};
};

void Trainer::open() {
  parallel::MeshShape shape;
  const int hosts = count_hosts(world_);
  parallel::agree(world_, [&] {
    shape = fit_mesh(run_, world_.size(), hosts);
    check_memory(run_, shape);
    open_data();
  });
  const std::string warning =
      first() ? memory_warning(run_, shape, (world_.size() + hosts - 1) / hosts) : "";
  if (!warning.empty()) base::log_warning(warning);
  make_model(shape);
  watch_ =
      std::make_unique<parallel::PeerWatch>(world_, static_cast<double>(run_.watchdog_seconds));
}

void Trainer::make_model(const parallel::MeshShape& shape) {
  mesh_ = std::make_unique<parallel::Mesh>(world_, shape);
  griffin_ = std::make_unique<model::Griffin>(run_.model, model::Share::of(*mesh_));
  reader_ = std::make_unique<model::Griffin>(run_.model, model::Share::whole_sequences(*mesh_));
  const auto compute = run_.bf16 ? tensor::DType::kBFloat16 : tensor::DType::kFloat32;
  parameters_ = std::make_unique<model::Parameters>(make_parameters(*griffin_, compute, *mesh_));
  optimizer_ = std::make_unique<Optimizer>(run_.optimizer, *parameters_, *mesh_);
}

void Trainer::open_data() {
  if (first() && options_.fresh && std::filesystem::exists(directory_)) {
    throw base::InputError(
        fmt::format("{} is there already and --fresh does not touch it; choose another name, or "
                    "leave out --fresh to go on",
                    directory_.string()));
  }
  tokenizer_ = text::open_tokenizer(run_.tokenizer);
  if (tokenizer_->size() > run_.model.vocabulary) {
    throw base::InputError(
        fmt::format("tokenizer {} has {} pieces, but model.vocabulary is {}; set it to at least {}",
                    run_.tokenizer, tokenizer_->size(), run_.model.vocabulary, tokenizer_->size()));
  }
  data_pipeline::DataNeeds needs{run_.tokenizer, tokenizer_->hash(), all_tasks(run_)};
  if (!needs.tasks.empty()) {
    // That a task is unknown or its files are missing is to be told now, not after a stage.
    const text::TaskPlaces places{run_.evaluation_data, {}};
    const text::TaskCatalog catalog = text::read_tasks({});
    for (const std::string& task : needs.tasks)
      for (const auto& leaf : text::open_tasks(task, catalog, places))
        needs.leaf_tasks[task].push_back(leaf->name());
  }
  for (std::size_t i = 0; i < run_.stages.size(); ++i) {
    const auto shards = data_pipeline::ShardSet::open(run_.stages[i].shards, needs);
    auto config = stream_config(run_, i);
    if (config.mixture.empty()) {  // all sources alike
      for (const auto& source : shards->sources()) config.mixture.emplace_back(source.name, 1.0);
    }
    streams_.push_back(std::make_unique<BatchStream>(shards, config));
    held_out_.push_back(std::make_unique<data_pipeline::ValidationStream>(
        shards, run_.stages[i].sequence_length, packing_of(run_.stages[i])));
  }
}

std::string Trainer::state_json() const {
  json data = json::array();
  for (const auto& stream : streams_) data.push_back(stream->fingerprint());
  return json{{"model", json::parse(model::to_json(run_.model))},
              {"run", run_.resolved},
              {"seed", run_.seed},
              {"step", step_},
              {"stage", stage_},
              {"stage_name", run_.stages[stage_].name},
              {"stage_step", stage_step_},
              {"tokens", tokens_},
              {"updates", optimizer_->updates()},
              {"data", data},
              {"tokenizer", run_.tokenizer},
              {"tokenizer_hash", tokenizer_->hash()},
              {"precision", run_.bf16 ? "bf16" : "fp32"},
              {"threads", tensor::thread_count()},
              {"ranks", world_.size()},
              {"mesh", parallel::describe(mesh_->shape())}}
      .dump();
}

void Trainer::resume_or_begin() {
  std::vector<std::string> why_not;
  const auto newest = newest_valid_checkpoint(directory_, world_, &why_not);
  if (first()) {
    for (const std::string& why : why_not) base::log_warning(why);
  }
  parallel::agree(world_, [&] {
    if (newest) {
      load(*newest);
    } else if (first()) {
      refuse_damaged_run(directory_);
    }
  });
  if (newest) {
    optimizer_->share();
  } else {
    optimizer_->initialise(static_cast<std::uint64_t>(run_.seed));
  }
  renewal_bytes_ = optimizer_->bytes_sent().all();
  parallel::agree(world_, [&] {
    base::make_directories(directory_ / "log");
    base::log_to_directory((directory_ / "log").string(), world_.rank());
    if (!first()) return;
    base::write_file(directory_ / "run.yaml", run_.resolved);
    metrics_ = std::make_unique<Metrics>(directory_ / "metrics.jsonl", step_);
  });
  const tensor::DType compute = parameters_->compute();
  std::vector<double> peaks = {matmul_peak(compute)};
  world_.all_reduce(std::span<double>(peaks), parallel::Reduce::kSum);
  peak_flops_ = peaks[0];
  base::log_info(fmt::format(
      "model {}: {} parameters, {}; {} ranks of {} threads ({}); products reach {:.0f} GFLOP/s",
      run_.model.preset, model::whole_parameter_count(griffin_->units()), name_of(compute),
      world_.size(), tensor::thread_count(), parallel::describe(mesh_->shape()),
      peak_flops_ * 1e-9));
}

void Trainer::load(const base::Path& checkpoint) {
  const CheckpointReader reader(checkpoint);
  const json state = json::parse(reader.state());
  const std::string here = checkpoint.string();
  const auto differs = [&](const std::string& what) {
    throw base::InputError(fmt::format(
        "{} was written by a run with another {}; give this run another name, or set it back", here,
        what));
  };
  // Through the configuration, so that what an older checkpoint does not name has its default.
  if (model::to_json(model::from_json(state.at("model").dump())) != model::to_json(run_.model))
    differs("model (" + state.at("model").dump() + ")");
  if (state.at("seed") != run_.seed) differs(fmt::format("seed ({})", state.at("seed").dump()));
  if (state.at("tokenizer_hash") != tokenizer_->hash())
    differs("tokenizer (" + state.at("tokenizer").get<std::string>() + ")");
  stage_ = state.at("stage").get<std::size_t>();
  if (stage_ >= run_.stages.size() || state.at("stage_name") != run_.stages[stage_].name) {
    differs("list of stages (it stands in '" + state.at("stage_name").get<std::string>() + "')");
  }
  if (state.at("data").at(stage_) != streams_[stage_]->fingerprint())
    differs("data in stage '" + run_.stages[stage_].name + "'");
  step_ = state.at("step").get<std::int64_t>();
  stage_step_ = state.at("stage_step").get<std::int64_t>();
  tokens_ = state.at("tokens").get<std::int64_t>();
  optimizer_->load(reader);
  optimizer_->set_updates(state.at("updates").get<std::int64_t>());
  fresh_ = false;
  if (state.at("precision") != (run_.bf16 ? "bf16" : "fp32")) {
    base::log_warning(fmt::format("{} was written in {}; this run computes in {}", here,
                                  state.at("precision").get<std::string>(),
                                  run_.bf16 ? "bf16" : "fp32"));
  }
  base::log_info(fmt::format("going on from {} (stage {}, step {}, written by {} ranks)", here,
                             run_.stages[stage_].name, step_, state.at("ranks").dump()));
}

// One step: this rank's micro-shards, the exchange beside the backward pass, one small reduction
// for all control values (losses, stop requests), the update.
void Trainer::step(const StageConfig& stage) {
  const auto start = Clock::now();
  const auto waited = optimizer_->exchange().waited_seconds;
  const BatchStream& stream = *streams_[stage_];
  const parallel::StepPlan plan(stage.micro_shards, mesh_->shape());
  const auto shards = static_cast<std::size_t>(stage.micro_shards),
             ranks = static_cast<std::size_t>(world_.size());
  const auto rank = static_cast<std::size_t>(world_.rank());
  std::vector<double> control(shards + 2 * ranks + 1, 0.0);
  const auto sent = optimizer_->bytes_sent().all();
  const std::span<double> losses(control.data(), shards);
  const std::span<double> stops(control.data() + shards, ranks),
      memory(stops.data() + ranks, ranks);

  data_s_ = 0;
  const std::int64_t targets = stream.target_count(stage_step_);
  const double scale = 1.0 / static_cast<double>(std::max<std::int64_t>(targets, 1));
  optimizer_->begin(plan);
  for (std::int64_t number = 0; number < plan.count(); ++number) {
    const std::int64_t m = plan.micro_shard(mesh_->data_rank(), number);
    const auto reading = Clock::now();
    const data_pipeline::Batch batch = stream.micro_shard(stage_step_, m);
    data_s_ += seconds_since(reading);
    const model::BatchView view{
        batch.rows,           batch.length,           batch.tokens.data(),
        batch.targets.data(), batch.positions.data(), batch.loss_mask.data()};
    const double loss =
        griffin_->loss(*parameters_, view, workspace_, static_cast<float>(scale), *optimizer_);
    // Context ranks have terms of it; tensor ranks have it all alike.
    if (mesh_->tensor_rank() == 0) losses[static_cast<std::size_t>(m)] = loss;
  }
  grad_norm_ = optimizer_->grad_norm();
  stops[rank] = parallel::stop_requested() ||
                        (options_.stop_after > 0 && steps_here_ + 1 >= options_.stop_after)
                    ? 1.0
                    : 0.0;
  memory[rank] = peak_memory_mb();
  const auto summed = optimizer_->bytes_sent().all();
  control.back() = static_cast<double>(summed - sent + renewal_bytes_);
  world_.all_reduce(std::span<double>(control), parallel::Reduce::kSum);

  loss_ = 0;
  for (const double part : losses) loss_ += part;
  loss_ *= scale;
  if (!std::isfinite(loss_) || !std::isfinite(grad_norm_)) {
    throw base::Error(
        fmt::format("step {} of stage {}: the loss is {} and the gradient norm {}; lower the "
                    "learning rate, or go on from an older "
                    "checkpoint with another seed",
                    step_ + 1, stage.name, loss_, grad_norm_));
  }
  rate_ = learning_rate(stage.learning_rate, stage_step_, stage.steps);
  optimizer_->apply(rate_, grad_norm_);
  exchange_bytes_ = control.back();
  renewal_bytes_ = optimizer_->bytes_sent().all() - summed;
  stop_ = std::any_of(stops.begin(), stops.end(), [](double s) { return s != 0; });
  memory_mb_ = *std::max_element(memory.begin(), memory.end());
  ++step_;
  ++stage_step_;
  ++steps_here_;
  tokens_ += stage.batch_sequences * stage.sequence_length;
  step_s_ = seconds_since(start);
  exchange_s_ = optimizer_->exchange().waited_seconds - waited;
}

void Trainer::log_step(const StageConfig& stage) {
  if (!first()) return;
  const double rate = static_cast<double>(stage.batch_sequences * stage.sequence_length) / step_s_;
  const double flops = rate * griffin_->flops_per_token(stage.sequence_length);
  metrics_->append({step_,
                    stage.name,
                    {{"loss", loss_},
                     {"grad_norm", grad_norm_},
                     {"lr", rate_},
                     {"tokens", static_cast<double>(tokens_)},
                     {"tokens_per_s", rate},
                     {"flops_per_s", flops},
                     {"mfu", flops / peak_flops_},
                     {"step_s", step_s_},
                     {"data_s", data_s_},
                     {"exchange_s", exchange_s_},
                     {"exchange_bytes", exchange_bytes_},
                     {"checkpoint_s", checkpoint_s_},
                     {"memory_mb", memory_mb_},
                     {"time", static_cast<double>(std::time(nullptr))}},
                    {}});
  if (seconds_since(last_line_) < 2.0 && stage_step_ != stage.steps && stage_step_ != 1) return;
  last_line_ = Clock::now();
  std::int64_t left = stage.steps - stage_step_;
  for (std::size_t s = stage_ + 1; s < run_.stages.size(); ++s) left += run_.stages[s].steps;
  const double each = seconds_since(began_) / static_cast<double>(steps_here_);
  base::log_info(fmt::format(
      "{} {}/{}  loss {:.4f}  grad_norm {:.3f}  lr {:.2e}  {:.0f} tokens/s  mfu {:.2f}  ETA {}",
      stage.name, stage_step_, stage.steps, loss_, grad_norm_, rate_, rate, flops / peak_flops_,
      clock_text(each * static_cast<double>(left))));
}

void Trainer::validate(const StageConfig& stage) {
  if (stage.validate_sequences == 0) return;
  watch_->set_doing(fmt::format("the validation after step {}", step_));
  const ValidationLoss loss =
      validation_loss(*reader_, *parameters_, *held_out_[stage_], stage.validate_sequences,
                      mesh_->columns(), workspace_);
  if (!first() || loss.by_source.empty()) return;
  metrics_->append({step_,
                    stage.name,
                    {{"validation_loss", loss.all}},
                    {{"validation_loss_by_source", loss.by_source}}});
  std::string sources;
  for (const auto& [source, value] : loss.by_source)
    sources += fmt::format("  {} {:.4f}", source, value);
  base::log_info(fmt::format("{} {}/{}  validation loss {:.4f} {}", stage.name, stage_step_,
                             stage.steps, loss.all, sources));
}

void Trainer::save() {
  const auto start = Clock::now();
  watch_->set_doing(fmt::format("writing the checkpoint of step {}", step_));
  const base::Path path = checkpoint_path(directory_, step_);
  const auto pieces = optimizer_->pieces();
  save_checkpoint(path, world_, pieces, step_, state_json());
  if (first()) prune_checkpoints(directory_, run_.checkpoint_keep, run_.checkpoint_keep_every);
  watch_->set_advice("Start the same command again: it goes on from " + path.string() + ".");
  checkpoint_s_ = seconds_since(start);
  base::log_info(fmt::format("checkpoint {} written in {:.2f} s", path.string(), checkpoint_s_));
}

void Trainer::finish_stage(const StageConfig& stage, const AfterStage& after_stage) {
  const base::Path results = directory_ / "eval" / stage.name;
  std::int64_t there = first() && std::filesystem::exists(results / "results.json") ? 1 : 0;
  world_.all_reduce(std::span<std::int64_t>(&there, 1), parallel::Reduce::kMax);
  if (there != 0 || stage.tasks.empty() || !after_stage) return;
  watch_->set_doing("the evaluation after stage " + stage.name);
  model::Scorer scorer(*reader_, *parameters_);
  after_stage(stage, scorer, *tokenizer_, mesh_->columns(), results);
}

Outcome Trainer::run(const AfterStage& after_stage) {
  began_ = Clock::now();
  watch_->set_advice(fresh_
                         ? "No checkpoint was written yet: start the same command again."
                         : "Start the same command again: it goes on from the newest checkpoint.");
  for (; stage_ < run_.stages.size(); ++stage_, stage_step_ = 0) {
    const StageConfig& stage = run_.stages[stage_];
    if (stage_step_ == 0) {
      if (stage.reset_moments && stage_ > 0) optimizer_->reset_moments();
      base::log_info(fmt::format("stage {}: {} steps of {} sequences of {} tokens", stage.name,
                                 stage.steps, stage.batch_sequences, stage.sequence_length));
    }
    while (stage_step_ < stage.steps) {
      watch_->set_doing(fmt::format("step {} of stage {}", step_ + 1, stage.name));
      step(stage);
      log_step(stage);
      checkpoint_s_ = 0;
      const bool last = stage_step_ == stage.steps;
      if (last || (stage.validate_every > 0 && stage_step_ % stage.validate_every == 0))
        validate(stage);
      if (last || stop_ || step_ % run_.checkpoint_every == 0) save();
      if (stop_ && !(last && stage_ + 1 == run_.stages.size())) {
        base::log_info(fmt::format(
            "stopped on request after step {}; the same command goes on from here", step_));
        return Outcome::kStopped;
      }
    }
    finish_stage(stage, after_stage);
    if (parallel::stop_requested_anywhere(world_) && stage_ + 1 < run_.stages.size())
      return Outcome::kStopped;
  }
  base::log_info(fmt::format("done: {} steps, {} tokens; everything lies in {}", step_, tokens_,
                             directory_.string()));
  return Outcome::kDone;
}

}  // namespace

int threads_for(std::int64_t configured, parallel::Communicator& world) {
  if (configured > 0) return static_cast<int>(configured);
  const std::string host = host_name();
  const auto hosts = world.all_gather(host);
  const auto beside = std::count(hosts.begin(), hosts.end(), host);
  return std::max(1, tensor::cores() / static_cast<int>(beside));
}

Outcome train(const RunConfig& config, parallel::Communicator& world, const TrainOptions& options,
              const AfterStage& after_stage) {
  tensor::set_thread_count(threads_for(config.threads, world));
  Trainer trainer(config, world, options);
  trainer.open();
  Outcome outcome = Outcome::kDone;
  if (options.check) {
    base::log_info(fmt::format("{}: everything fits: {} stages, {} steps on {} ranks", config.name,
                               config.stages.size(), config.total_steps(), world.size()));
  } else {
    trainer.resume_or_begin();
    outcome = trainer.run(after_stage);
  }
  trainer.finish();
  return outcome;
}

}  // namespace eyrie::trainer
