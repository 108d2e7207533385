// Trains up to a step without writing anything, then looks at it.
#include "trainer/replay.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "base/listing.h"
#include "base/log.h"
#include "model/token_loss.h"
#include "parallel/sharding/gradient_sum.h"
#include "trainer/objectives/next_token.h"
#include "trainer/open_run.h"
#include "trainer/run_checkpoints.h"

namespace eyrie::trainer {
namespace {

using nlohmann::json;

// The documents of this data rank's micro-shards, with their losses under the current weights.
std::vector<ReplayedDocument> own_documents(TrainingModel& model, const RunData& data,
                                            const RunConfig& run, const RunPosition& at) {
  const StageConfig& stage = run.stages[at.stage];
  const parallel::Mesh& mesh = model.mesh();
  const parallel::StepPlan plan(stage.micro_shards, mesh.shape());
  const std::int64_t batch = at.stage_step + at.data_offset;
  std::vector<ReplayedDocument> documents;
  for (std::int64_t number = 0; number < plan.count(); ++number) {
    const std::int64_t m = plan.micro_shard(mesh.data_rank(), number);
    const data_pipeline::Batch all = data.streams[at.stage]->micro_shard(batch, m);
    const auto& rows = std::get<data_pipeline::NextTokenBatch>(all);
    const std::vector<float> nll = model::token_nll(model.evaluation_model(), model.parameters(),
                                                    view_of(rows), model.workspace());
    // Context and tensor ranks have the same whole rows: one of them tells.
    if (mesh.context_rank() != 0 || mesh.tensor_rank() != 0) continue;
    for (const data_pipeline::RowOrigin& origin : data.streams[at.stage]->origins(batch, m)) {
      ReplayedDocument document{.origin = origin, .micro_shard = m, .tokens = {}};
      const std::int64_t first = origin.row * rows.length + origin.at;
      for (std::int64_t t = first; t < first + origin.count; ++t) {
        const auto i = static_cast<std::size_t>(t);
        document.tokens.push_back(rows.tokens[i]);
        if (rows.loss_mask[i] == 0) continue;
        ++document.targets;
        document.nll += static_cast<double>(nll[i]);
      }
      documents.push_back(std::move(document));
    }
  }
  model.parameters().finish_passes();
  return documents;
}

std::string to_text(const std::vector<ReplayedDocument>& documents) {
  json all = json::array();
  for (const ReplayedDocument& d : documents)
    all.push_back({d.micro_shard, d.origin.row, d.origin.at, d.origin.count, d.origin.source,
                   d.origin.shard, d.origin.document, d.origin.first, d.targets, d.nll, d.tokens});
  return all.dump();
}

void add_from_text(const std::string& text, std::vector<ReplayedDocument>& documents) {
  for (const json& one : json::parse(text)) {
    documents.push_back({.origin = {.row = one[1],
                                    .at = one[2],
                                    .count = one[3],
                                    .source = one[4],
                                    .shard = one[5],
                                    .document = one[6],
                                    .first = one[7]},
                         .micro_shard = one[0],
                         .targets = one[8],
                         .nll = one[9],
                         .tokens = one[10]});
  }
}

// The same on all ranks.
std::vector<std::pair<std::string, double>> loss_by_source(
    const std::vector<ReplayedDocument>& documents) {
  std::map<std::string, std::pair<double, double>> sums;
  for (const ReplayedDocument& d : documents) {
    sums[d.origin.source].first += d.nll;
    sums[d.origin.source].second += static_cast<double>(d.targets);
  }
  std::vector<std::pair<std::string, double>> losses;
  for (const auto& [source, sum] : sums)
    losses.emplace_back(source, sum.second > 0 ? sum.first / sum.second : 0);
  return losses;
}

void read_recorded(const base::Path& metrics, Replay& replay) {
  if (!base::is_there(metrics)) return;
  std::ifstream lines(metrics);
  for (std::string text; std::getline(lines, text);) {
    const json line = json::parse(text, nullptr, false);
    if (!line.is_object() || line.value("step", std::int64_t{-1}) != replay.step) continue;
    if (line.contains("loss") && line["loss"].is_number()) replay.recorded_loss = line["loss"];
    if (line.contains("grad_norm") && line["grad_norm"].is_number())
      replay.recorded_grad_norm = line["grad_norm"];
  }
}

}  // namespace

Replay replay_step(const RunConfig& config, parallel::Communicator& world, std::int64_t step) {
  if (step < 1 || step > config.total_steps())
    throw base::InputError(
        fmt::format("--step {}: the run has steps 1 to {}", step, config.total_steps()));
  TrainOptions options;
  options.check = true;  // the run's folder is only read
  OpenRun run(config, world, options);
  RunPosition at;
  OutlierDetector outliers(run.config().outliers);
  TrainingModel model(run.config(), world, run.mesh());
  RunCheckpoints checkpoints(run, &model, at, outliers);
  if (checkpoints.load_at_most(step - 1)) {
    model.all_gather_parameters();
  } else {
    model.initialise(static_cast<std::uint64_t>(run.config().seed));
  }
  Replay replay;
  replay.step = step;
  replay.from = at.step;
  const auto& stages = run.config().stages;
  const auto never = [] { return false; };
  for (;;) {
    if (at.stage_step == stages[at.stage].steps) {
      ++at.stage;
      at.stage_step = 0;
    }
    if (at.stage_step == 0) enter_stage(model, run.config(), at);
    if (at.step == step - 1) break;
    take_step(model, run.data(), run.config(), at, outliers, never);
    if (outliers.roll_back())
      throw base::Error(
          fmt::format("the run rolled back at step {}, and what it did then depends "
                      "on more than the checkpoint of step {}",
                      at.step, replay.from));
  }
  replay.stage = stages[at.stage].name;
  replay.batch = at.stage_step + at.data_offset;
  const auto texts = world.gather(to_text(own_documents(model, run.data(), run.config(), at)), 0);
  for (const std::string& text : texts) add_from_text(text, replay.documents);
  std::stable_sort(replay.documents.begin(), replay.documents.end(),
                   [](const auto& a, const auto& b) { return a.micro_shard < b.micro_shard; });
  replay.by_source = loss_by_source(replay.documents);
  replay.taken = take_step(model, run.data(), run.config(), at, outliers, never);
  replay.grad_norms = model.optimizer().grad_norms();
  if (run.first()) read_recorded(run.directory() / "metrics.jsonl", replay);
  run.peer_monitor().finish();
  return replay;
}

}  // namespace eyrie::trainer
