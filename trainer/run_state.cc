// The state of a run in a checkpoint.
#include "trainer/run_state.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

namespace eyrie::trainer {
namespace {

using nlohmann::json;

const char* precision_of(const RunConfig& run) { return run.bf16 ? "bf16" : "fp32"; }

// Lines of one text that the other has not.
std::vector<std::string> lines_missing_in(const std::string& other, const std::string& text) {
  const auto lines_of = [](const std::string& whole) {
    std::vector<std::string> lines;
    std::istringstream stream(whole);
    for (std::string line; std::getline(stream, line);)
      lines.push_back(line.substr(std::min(line.find_first_not_of(" -"), line.size())));
    return lines;
  };
  const std::vector<std::string> others = lines_of(other);
  const std::set<std::string> there(others.begin(), others.end());
  std::vector<std::string> missing;
  for (const std::string& line : lines_of(text))
    if (!there.contains(line)) missing.push_back(line);
  return missing;
}

RunPosition read_position(const json& state, const CheckpointReader& checkpoint,
                          const RunIdentity& identity, std::vector<std::string>& warnings) {
  const RunConfig& run = identity.run;
  const std::string here = checkpoint.directory().string();
  const auto differs = [&](const std::string& what) {
    throw base::InputError(fmt::format(
        "{} was written by a run with another {}; give this run another name, or set it back", here,
        what));
  };
  // Through the configuration, so that what an older checkpoint does not name has its default.
  if (model::to_json(model::from_json(state.at("model").dump())) != model::to_json(run.model))
    differs("model (" + state.at("model").dump() + ")");
  if (state.at("seed") != run.seed) differs(fmt::format("seed ({})", state.at("seed").dump()));
  if (state.at("tokenizer_hash") != identity.tokenizer_hash)
    differs("tokenizer (" + state.at("tokenizer").get<std::string>() + ")");
  RunPosition position;
  position.stage = state.at("stage").get<std::size_t>();
  if (position.stage >= run.stages.size() ||
      state.at("stage_name") != run.stages[position.stage].name) {
    differs("list of stages (it stands in '" + state.at("stage_name").get<std::string>() + "')");
  }
  if (state.at("data").at(position.stage) != identity.data[position.stage])
    differs("data in stage '" + run.stages[position.stage].name + "'");
  position.step = state.at("step").get<std::int64_t>();
  position.stage_step = state.at("stage_step").get<std::int64_t>();
  position.tokens = state.at("tokens").get<std::int64_t>();
  position.updates = state.at("updates").get<std::int64_t>();
  position.ranks = state.at("ranks").get<std::int64_t>();
  if (position.step != checkpoint.step() || position.stage_step > position.step ||
      position.stage_step < 0) {
    throw base::InputError(
        fmt::format("{}: its state contradicts itself: step {} of a checkpoint of step {}, "
                    "stage_step {}; use an older checkpoint",
                    here, position.step, checkpoint.step(), position.stage_step));
  }
  if (state.at("precision") != precision_of(run)) {
    warnings.push_back(fmt::format("{} was written in {}; this run computes in {}", here,
                                   state.at("precision").get<std::string>(), precision_of(run)));
  }
  const std::string before = state.at("run").get<std::string>();
  const auto gone = lines_missing_in(run.resolved, before),
             added = lines_missing_in(before, run.resolved);
  if (!gone.empty() || !added.empty()) {
    warnings.push_back(
        fmt::format("{} was written with another configuration: before \"{}\", now \"{}\"", here,
                    fmt::join(gone, "; "), fmt::join(added, "; ")));
  }
  return position;
}

}  // namespace

std::string state_json(const RunPosition& position, const RunIdentity& identity) {
  const RunConfig& run = identity.run;
  json state{{"model", json::parse(model::to_json(run.model))},
             {"run", run.resolved},
             {"seed", run.seed},
             {"step", position.step},
             {"stage", position.stage},
             {"stage_name", run.stages[position.stage].name},
             {"stage_step", position.stage_step},
             {"tokens", position.tokens},
             {"updates", position.updates},
             {"data", identity.data},
             {"tokenizer", run.tokenizer},
             {"tokenizer_hash", identity.tokenizer_hash},
             {"precision", precision_of(run)},
             {"threads", identity.threads},
             {"ranks", identity.mesh.ranks()},
             {"mesh", parallel::describe(identity.mesh)}};
  if (position.validation_loss) state["validation_loss"] = *position.validation_loss;
  return state.dump();
}

RunPosition position_in(const CheckpointReader& checkpoint, const RunIdentity& identity,
                        std::vector<std::string>& warnings) {
  try {
    return read_position(json::parse(checkpoint.state()), checkpoint, identity, warnings);
  } catch (const json::exception& error) {  // "key 'updates' not found"
    throw base::InputError(fmt::format("{}: its state is incomplete: {}; use an older checkpoint",
                                       checkpoint.directory().string(), error.what()));
  }
}

void check_tensors(const CheckpointReader& checkpoint, const std::vector<parallel::Unit>& units) {
  for (const parallel::Unit& unit : units) {
    for (const parallel::ParameterRow& row : unit.rows) {
      for (const char* group : {"parameters/", "moment1/", "moment2/"}) {
        const std::string name = group + row.name;
        if (checkpoint.shape(name) == row.shape) continue;
        throw base::InputError(fmt::format("{}: tensor {} has the shape {}, the model's is {}",
                                           checkpoint.directory().string(), name,
                                           checkpoint.shape(name), row.shape));
      }
    }
  }
}

}  // namespace eyrie::trainer
