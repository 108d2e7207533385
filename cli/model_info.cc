// eyrie model info: describes a model and its requirements, from its configuration alone.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/checked.h"
#include "base/error.h"
#include "base/listing.h"
#include "base/log.h"
#include "base/output.h"
#include "checkpoint/list.h"
#include "checkpoint/model_place.h"
#include "checkpoint/reader.h"
#include "cli/command.h"
#include "cli/flags.h"
#include "model/model_statistics.h"
#include "model/weights/hugging_face.h"
#include "parallel/sharding/gradient_tree.h"
#include "planning/plan.h"
#include "trainer/bytes.h"
#include "trainer/run_config.h"

namespace eyrie::cli {
namespace {

using nlohmann::json;
using tensor::DType;

constexpr const char* kFormulas = R"(
FLOPs a token, forward and backward:
  products    6 for every weight of a matrix product: projections, MLP, gate blocks, and
              vocabulary · width for the output layer (the lookup costs nothing)
  attention   12 · width · keys, for every attention layer; keys: the mean of min(t, window + 1)
              over the places t = 1 … length (global attention: of t)
  recurrence  36 for every channel of a recurrent layer (12 the scan, 24 the convolution); listed
              but not part of the sum
State of a sequence: a recurrent layer keeps rnn_width numbers in fp32 and 3 · rnn_width inputs of
its convolution; local attention keys and values of window + 1 tokens; global attention those of
every token. Memory: what a training rank holds, see docs/model.md.
)";

// A model configuration, and the shape of a training step as far as a run defines it. For the
// memory estimate, `shape.micro_shards` is the number per rank.
struct Described {
  model::GriffinConfig config;
  planning::StepShape shape;
};

DType dtype_of(const std::string& precision) {
  if (precision == "bf16") return DType::kBFloat16;
  if (precision == "fp32") return DType::kFloat32;
  throw base::InputError(fmt::format("--precision {} is not known; use fp32 or bf16", precision));
}

model::GriffinConfig config_of_checkpoint(const base::Path& path) {
  const checkpoint::CheckpointReader reader(path);
  try {
    return model::from_json(json::parse(reader.state()).at("model").dump());
  } catch (const json::exception& error) {
    throw base::InputError(fmt::format("{}: its state is not that of a training run: {}",
                                       path.string(), error.what()));
  }
}

// Takes the shape from the stage with the largest micro-shards.
Described described_by_run(const base::Path& file) {
  const trainer::RunConfig run = trainer::read_run(file, {});
  Described described{run.model, {}};
  std::int64_t most = 0;
  for (const trainer::StageConfig& stage : run.stages) {
    const std::int64_t rows = stage.batch_sequences / stage.micro_shards;
    if (rows * stage.sequence_length <= most) continue;
    most = rows * stage.sequence_length;
    described.shape.sequences = rows;
    described.shape.length = stage.sequence_length;
    described.shape.micro_shards = stage.micro_shards;
  }
  described.shape.compute = run.bf16 ? DType::kBFloat16 : DType::kFloat32;
  return described;
}

Described describe(const std::string& place) {
  const base::Path path = place;
  switch (checkpoint::model_place(path)) {
    case checkpoint::ModelPlace::kFile:
      return described_by_run(path);
    case checkpoint::ModelPlace::kCheckpoint:
      return {config_of_checkpoint(path), {}};
    case checkpoint::ModelPlace::kRun:
      return {config_of_checkpoint(checkpoint::open_newest_checkpoint(path)), {}};
    case checkpoint::ModelPlace::kHuggingFace:
      return {model::read_hugging_face_config(path), {}};
    case checkpoint::ModelPlace::kNone:
      break;
  }
  throw base::InputError(
      fmt::format("{}: no model there: neither a run (checkpoints/), a checkpoint (manifest.json), "
                  "a Hugging Face directory (config.json) nor a RUN.yaml; for a model by its name "
                  "write --preset NAME",
                  place));
}

struct Sizes {
  model::ParameterKinds parameters;
  model::StateBytes fp32, bf16;
  model::TokenFlops flops;
  planning::RankMemory memory;
};

std::string grouped(std::int64_t value) {
  std::string text = std::to_string(value);
  for (auto at = static_cast<std::int64_t>(text.size()) - 3; at > 0; at -= 3)
    text.insert(static_cast<std::size_t>(at), ",");
  return text;
}

planning::RankMemory memory_of(const Described& described) {
  planning::StepShape shape = described.shape;
  shape.micro_shards *= shape.mesh.data;
  return planning::MeshPlan(described.config, shape).memory(0);
}

void print_json(const Described& described, const Sizes& sizes) {
  const auto& [parameters, fp32, bf16, flops, memory] = sizes;
  const auto state = [](const model::StateBytes& bytes) {
    return json{{"bytes", bytes.fixed}, {"bytes_per_token", bytes.per_token}};
  };
  const planning::StepShape& shape = described.shape;
  const json all = {{"config", json::parse(model::to_json(described.config))},
                    {"parameters",
                     {{"total", parameters.all()},
                      {"non_embedding", parameters.all() - parameters.embedding},
                      {"embedding", parameters.embedding},
                      {"recurrent_linear", parameters.linear},
                      {"recurrent_convolution", parameters.convolution},
                      {"recurrent_gates", parameters.gates},
                      {"recurrent_a_param", parameters.decay},
                      {"attention", parameters.attention},
                      {"mlp", parameters.mlp},
                      {"norms", parameters.norms}}},
                    {"state", {{"fp32", state(fp32)}, {"bf16", state(bf16)}}},
                    {"flops_per_token",
                     {{"length", shape.length},
                      {"total", flops.all()},
                      {"products", flops.products},
                      {"attention", flops.attention},
                      {"recurrence", flops.recurrence}}},
                    {"training_bytes",
                     {{"precision", name_of(shape.compute)},
                      {"batch", shape.sequences},
                      {"length", shape.length},
                      {"micro_shards", shape.micro_shards},
                      {"ranks", shape.mesh.data},
                      {"total", memory.all()},
                      {"masters", memory.masters},
                      {"copies", memory.copies},
                      {"gradients", memory.gradients},
                      {"moments", memory.moments},
                      {"activations", memory.activations},
                      {"scratch", memory.scratch},
                      {"logits", memory.logits},
                      {"backward", memory.backward},
                      {"rows", memory.vectors},
                      {"exchange", memory.exchange},
                      {"batch", memory.batch},
                      {"snapshot", memory.snapshot},
                      {"process", memory.process}}}};
  base::print_json(all.dump(2) + "\n");
}

void print_text(const Described& described, const Sizes& sizes) {
  const auto& [parameters, fp32, bf16, flops, memory] = sizes;
  const model::GriffinConfig& config = described.config;
  const auto layers = [&](char kind) {
    return std::count(config.layers.begin(), config.layers.end(), kind);
  };
  base::print("{}\n", model::title_of(config, false));
  base::print("  layers       {}: {} recurrent, {} of local attention, {} of global attention\n",
              config.layers, layers('R'), layers('A'), layers('G'));
  base::print("  widths       model {}, rnn {}, mlp {}, vocabulary {}\n", config.width,
              config.rnn_width, config.mlp_width, config.vocabulary);
  base::print("  heads        {} of {}, one of keys and values; window {}\n", config.heads,
              config.head_dim(), config.window);
  base::print("  gate blocks  {} of {}\n", config.gate_blocks,
              config.rnn_width / config.gate_blocks);
  base::print("  embedding    scale {}, soft cap of the logits {}; init {}\n",
              config.embedding_scale(),
              config.soft_cap > 0 ? fmt::format("{}", config.soft_cap) : "none", config.init);

  const auto number = [](const char* what, std::int64_t value, const char* note = "") {
    if (value > 0) base::print("  {:<22}{:>16}{}\n", what, grouped(value), note);
  };
  base::print("\nparameters\n");
  number("total", parameters.all());
  number("without embedding", parameters.all() - parameters.embedding);
  number("embedding", parameters.embedding, "  also the output layer");
  number("recurrent: linear", parameters.linear);
  number("recurrent: conv", parameters.convolution);
  number("recurrent: gates", parameters.gates);
  number("recurrent: a_param", parameters.decay);
  number("attention", parameters.attention);
  number("mlp", parameters.mlp);
  number("norms", parameters.norms);

  base::print("\nstate of a sequence\n");
  for (const auto& [name, state] : {std::pair{"fp32", fp32}, std::pair{"bf16", bf16}}) {
    base::print("  {:<22}{:>16} bytes", name, grouped(state.fixed));
    if (state.per_token > 0) base::print(" and {} a token", grouped(state.per_token));
    base::print("\n");
  }

  const planning::StepShape& shape = described.shape;
  base::print("\nMFLOPs a token, forward and backward, sequences of {}\n", shape.length);
  const auto share = [](const char* what, double value, const char* note = "") {
    base::print("  {:<22}{:>16.3f}{}\n", what, value * 1e-6, note);
  };
  share("total", flops.all());
  share("products", flops.products);
  share("attention", flops.attention);
  share("recurrence", flops.recurrence, "  not part of the total");

  base::print(
      "\nmemory of a training rank: {}, micro-shards of {} x {} tokens, {} a rank and step, "
      "{} rank{}\n",
      name_of(shape.compute), shape.sequences, shape.length, shape.micro_shards, shape.mesh.data,
      shape.mesh.data == 1 ? "" : "s");
  const auto amount = [](const char* what, std::int64_t value, const char* note) {
    if (value > 0) base::print("  {:<22}{:>16}  {}\n", what, trainer::bytes_text(value), note);
  };
  amount("total", memory.all(), "");
  for (const planning::MemoryPart& part : planning::memory_parts(memory))
    amount(part.name.c_str(), part.bytes, part.note);
}

}  // namespace

int run_model_info(int argc, char** argv) {
  std::string place, preset, precision;
  std::optional<std::int64_t> length, batch, micro_shards;
  std::int64_t ranks = 1;
  bool as_json = false;
  CLI::App app(
      "Shows what a model is and what it needs: configuration, parameters, state of a sequence, "
      "FLOPs a token, memory of a training rank. Works from the configuration alone.",
      argv[0]);
  app.footer(kFormulas);
  auto* where = app.add_option("MODEL", place,
                               "run directory, checkpoint, Hugging Face directory, or RUN.yaml");
  auto* named = app.add_option("--preset", preset, "a model by its name, as griffin-1.3b");
  named->excludes(where);
  add_whole(app, "--length", length, "tokens a sequence (default: of RUN.yaml, else 2048)", 1,
            kMostTokens);
  add_whole(app, "--batch", batch, "sequences a micro-shard (default: of RUN.yaml, else 8)", 1,
            kMostTokens);
  add_whole(app, "--micro-shards", micro_shards,
            "micro-shards that a rank runs a step (default: of RUN.yaml, else 1)", 1, 1 << 20);
  add_whole(app, "--ranks", ranks, "data ranks, which share the moments and a run's micro-shards",
            1, 1 << 20);
  app.add_option("--precision", precision, "fp32 or bf16 (default: of RUN.yaml, else bf16)");
  app.add_flag("--json", as_json, "for scripts: one JSON object");
  app.callback([&] {
    if (place.empty() && preset.empty()) throw CLI::RequiredError("MODEL, or --preset NAME,");
  });
  if (const auto end = parse(app, argc, argv)) return *end;
  Described described = preset.empty() ? describe(place) : Described{model::preset(preset), {}};
  planning::StepShape& shape = described.shape;
  shape.mesh.data = static_cast<int>(ranks);
  if (micro_shards) {
    shape.micro_shards = *micro_shards;
  } else if (shape.micro_shards > 1) {
    shape.micro_shards =
        parallel::MicroShardPlan(shape.micro_shards, static_cast<int>(ranks)).count(0);
  }
  shape.length = length.value_or(shape.length);
  shape.sequences = batch.value_or(shape.sequences);
  base::checked_product("--batch × --length: the tokens that a rank holds at once",
                        {shape.sequences, shape.length}, kMostTokens);
  if (!precision.empty()) shape.compute = dtype_of(precision);

  const model::Griffin griffin(described.config);
  const Sizes sizes{model::parameter_kinds(griffin),
                    model::state_bytes(described.config, DType::kFloat32),
                    model::state_bytes(described.config, DType::kBFloat16),
                    model::token_flops(griffin, shape.length), memory_of(described)};
  if (as_json) {
    print_json(described, sizes);
  } else {
    print_text(described, sizes);
  }
  return base::kExitDone;
}

}  // namespace eyrie::cli
