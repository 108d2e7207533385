// The state of a run in a checkpoint.
#include "trainer/run_state.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/config.h"

namespace eyrie::trainer {
namespace {

using nlohmann::json;

const char* precision_of(const RunConfig& run) { return run.bf16 ? "bf16" : "fp32"; }

// Returns the differences between two resolved configurations: "stages.0.steps 14 → 4". A run's
// name and directory do not count.
std::vector<std::string> changes_of(const std::string& before, const std::string& now) {
  auto old_values = base::Config::parse(before, "the configuration before").values();
  auto new_values = base::Config::parse(now, "the configuration").values();
  for (auto* values : {&old_values, &new_values}) {
    values->erase("directory");
    values->erase("name");
  }
  std::vector<std::string> changes;
  for (const auto& [path, value] : old_values) {
    const auto found = new_values.find(path);
    if (found == new_values.end()) {
      changes.push_back(fmt::format("{} was {}, now gone", path, value));
    } else if (found->second != value) {
      changes.push_back(fmt::format("{} {} → {}", path, value, found->second));
    }
  }
  for (const auto& [path, value] : new_values) {
    if (!old_values.contains(path)) changes.push_back(fmt::format("{} is new: {}", path, value));
  }
  return changes;
}

// Returns "width 256, now 128" for every key that differs.
std::string differing(const json& before, const json& now) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : before.items()) {
    if (!now.contains(key) || now[key] != value)
      keys.push_back(fmt::format("{} {}, now {}", key, value.dump(),
                                 now.contains(key) ? now[key].dump() : "gone"));
  }
  return fmt::format("{}", fmt::join(keys, "; "));
}

using Names = std::vector<std::string>;

// Returns the sources that a stage of an earlier configuration used, in its order; none if it has
// no mixture or no such stage, which means all of the folder.
Names mixture_of(const std::string& resolved, const std::string& stage) {
  Names names;
  auto config = base::Config::parse(resolved, "the configuration before");
  for (base::Config& section : config.list("stages")) {
    if (section.get<std::string>("name", "") != stage) continue;
    base::Config data = section.map("data");
    if (!data.has("mixture")) continue;
    base::Config mixture = data.map("mixture");
    for (const auto& [source, weight] : mixture.entries<double>())
      if (weight > 0) names.push_back(source);
  }
  return names;
}

Names names_of(const data_pipeline::ShardSet& shards) {
  Names names;
  for (const auto& source : shards.sources()) names.push_back(source.name);
  return names;
}

bool contains(const Names& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// Checks whether the stage may continue with the current data. Users may change the mixture (order,
// weights, new or removed sources), but not the documents of a source. Returns what has changed, or
// "" if nothing has; calls `differs` if it is another data set.
template <class Differs>
std::string check_data(const json& state, std::size_t stage, const RunIdentity& identity,
                       const Differs& differs) {
  if (state.at("data").at(stage) == identity.data[stage]) return "";
  const StageConfig& config = identity.run.stages[stage];
  const std::string what = fmt::format("data in stage '{}'", config.name);
  if (stage >= identity.shards.size()) differs(what);
  const data_pipeline::ShardSet& shards = *identity.shards[stage];
  const Names here = names_of(shards);
  const json sources = state.value("sources", json::array());
  const json then = sources.size() > stage ? sources.at(stage) : json::object();
  Names before = mixture_of(state.at("run").get<std::string>(), config.name);
  if (before.empty()) {
    for (const std::string& name : here)
      if (then.empty() || then.contains(name)) before.push_back(name);
    for (const auto& [name, hash] : then.items())
      if (!contains(before, name)) before.push_back(name);
  }
  if (std::all_of(before.begin(), before.end(),
                  [&](const std::string& name) { return contains(here, name); })) {
    // The fingerprint as it was computed then.
    if (shards.fingerprint(before) != state.at("data").at(stage)) differs(what);
  } else {
    bool any = false;
    for (const std::string& name : here) {
      if (!then.contains(name)) continue;
      if (then[name] != shards.fingerprint({name})) differs(what + ", source " + name);
      any = true;
    }
    if (!any) differs(what);
  }
  Names now;
  for (const auto& [name, weight] : config.mixture)
    if (weight > 0) now.push_back(name);
  if (config.mixture.empty()) now = here;
  return fmt::format("another mixture in stage '{}': {} then, {} now", config.name,
                     fmt::join(before, ", "), fmt::join(now, ", "));
}

RunPosition read_position(const json& state, const checkpoint::CheckpointReader& checkpoint,
                          const RunIdentity& identity, std::vector<std::string>& warnings) {
  const RunConfig& run = identity.run;
  const std::string here = checkpoint.directory().string();
  const auto differs = [&](const std::string& what) {
    throw base::InputError(fmt::format(
        "{} was written by a run with another {}; set it back, or give this run another name (or "
        "directory) to train it from the start",
        here, what));
  };
  // Parsed as a configuration, so that what an older checkpoint does not name has its default.
  const std::string model_there = model::to_json(model::from_json(state.at("model").dump())),
                    model_now = model::to_json(run.model);
  if (model_there != model_now)
    differs(fmt::format("model ({})", differing(json::parse(model_there), json::parse(model_now))));
  if (state.at("seed") != run.seed) differs(fmt::format("seed ({})", state.at("seed").dump()));
  if (state.at("tokenizer_hash") != identity.tokenizer_hash)
    differs("tokenizer (" + state.at("tokenizer").get<std::string>() + ")");
  RunPosition position;
  position.stage = state.at("stage").get<std::size_t>();
  if (position.stage >= run.stages.size() ||
      state.at("stage_name") != run.stages[position.stage].name) {
    differs("list of stages (it stands in '" + state.at("stage_name").get<std::string>() + "')");
  }
  if (const std::string data = check_data(state, position.stage, identity, differs); !data.empty())
    warnings.push_back(fmt::format("{} was written with {}; it counts as it is now", here, data));
  position.step = state.at("step").get<std::int64_t>();
  position.stage_step = state.at("stage_step").get<std::int64_t>();
  position.data_offset = state.value("data_offset", std::int64_t{0});
  if (state.contains("outliers")) position.outliers = state["outliers"].get<std::vector<double>>();
  position.roll_backs = {state.value("roll_back_to", std::int64_t{-1}),
                         state.value("roll_back_tries", std::int64_t{0}),
                         state.value("rolled_back_to", std::int64_t{0}),
                         state.value("rolled_back_times", std::int64_t{0})};
  position.tokens = state.at("tokens").get<std::int64_t>();
  position.updates = state.at("updates").get<std::int64_t>();
  position.ranks = state.at("ranks").get<std::int64_t>();
  position.validation_due = state.value("validation_due", false);
  if (position.step != checkpoint.step() || position.stage_step > position.step ||
      position.stage_step < 0 || position.data_offset < 0 || position.tokens < 0 ||
      position.updates < 0) {
    throw base::InputError(
        fmt::format("{}: its state contradicts itself: step {} of a checkpoint of step {}, "
                    "stage_step {}, data_offset {}, tokens {}, updates {}; use an older checkpoint",
                    here, position.step, checkpoint.step(), position.stage_step,
                    position.data_offset, position.tokens, position.updates));
  }
  const StageConfig& stage = run.stages[position.stage];
  if (position.stage_step > stage.steps) {
    throw base::InputError(
        fmt::format("{}: stage '{}' has done {} steps, but stages.{}.steps is {} now; set it to at "
                    "least {} ({} ends the stage here)",
                    here, stage.name, position.stage_step, position.stage, stage.steps,
                    position.stage_step, position.stage_step));
  }
  if (state.at("precision") != precision_of(run)) {
    warnings.push_back(fmt::format("{} was written in {}; this run computes in {}", here,
                                   state.at("precision").get<std::string>(), precision_of(run)));
  }
  const auto changes = changes_of(state.at("run").get<std::string>(), run.resolved);
  if (!changes.empty()) {
    warnings.push_back(
        fmt::format("{} was written with another configuration: {}; it counts as it is now", here,
                    fmt::join(changes, "; ")));
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
             {"data_offset", position.data_offset},
             {"outliers", position.outliers},
             {"roll_back_to", position.roll_backs.target},
             {"roll_back_tries", position.roll_backs.tries},
             {"rolled_back_to", position.roll_backs.last},
             {"rolled_back_times", position.roll_backs.times_last},
             {"tokens", position.tokens},
             {"updates", position.updates},
             {"data", identity.data},
             {"tokenizer", run.tokenizer},
             {"tokenizer_hash", identity.tokenizer_hash},
             {"precision", precision_of(run)},
             {"threads", identity.threads},
             {"ranks", identity.mesh.ranks()},
             {"mesh", parallel::describe(identity.mesh)}};
  json sources = json::array();  // of each stage's folder, used or not
  for (const data_pipeline::ShardSet* shards : identity.shards) {
    json& hashes = sources.emplace_back(json::object());
    for (const auto& source : shards->sources())
      hashes[source.name] = shards->fingerprint({source.name});
  }
  state["sources"] = sources;
  if (position.validation_loss) state["validation_loss"] = *position.validation_loss;
  if (position.validation_due) state["validation_due"] = true;
  return state.dump();
}

RunPosition position_in(const checkpoint::CheckpointReader& checkpoint, const RunIdentity& identity,
                        std::vector<std::string>& warnings) {
  try {
    return read_position(json::parse(checkpoint.state()), checkpoint, identity, warnings);
  } catch (const json::exception& error) {  // "key 'updates' not found"
    throw base::InputError(fmt::format("{}: its state is incomplete: {}; use an older checkpoint",
                                       checkpoint.directory().string(), error.what()));
  }
}

void check_tensors(const checkpoint::CheckpointReader& checkpoint,
                   const std::vector<parallel::Unit>& units) {
  for (const parallel::Unit& unit : units) {
    for (const parallel::ParameterInfo& info : unit.parameters) {
      for (const char* group : {"parameters/", "moment1/", "moment2/"}) {
        const std::string name = group + info.name;
        if (checkpoint.shape(name) == info.shape) continue;
        throw base::InputError(fmt::format("{}: tensor {} has the shape {}, the model's is {}",
                                           checkpoint.directory().string(), name,
                                           checkpoint.shape(name), info.shape));
      }
    }
  }
}

}  // namespace eyrie::trainer
