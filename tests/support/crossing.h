// Runs that are written on one mesh and continued on another.
#pragma once

#include <fmt/format.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "checkpoint/list.h"
#include "checkpoint/reader.h"
#include "support/tiny_run.h"
#include "trainer/trainer.h"

namespace eyrie::test {

inline trainer::Outcome train_on(int ranks, const trainer::RunConfig& config,
                                 const trainer::TrainOptions& options = {}) {
  trainer::Outcome outcome{};
  parallel::run_in_process(ranks, [&](parallel::Communicator& world) {
    const trainer::Outcome own = trainer::train(config, world, options, {});
    if (world.rank() == 0) outcome = own;
  });
  return outcome;
}

// What it ended with: "" for nothing, "input: …" for an InputError, else the message.
inline std::string failure_of(int ranks, const trainer::RunConfig& config,
                              const trainer::TrainOptions& options = {}) {
  try {
    train_on(ranks, config, options);
  } catch (const base::InputError& error) {
    return std::string("input: ") + error.what();
  } catch (const base::Error& error) {
    return error.what();
  }
  return "";
}

// The steps of its checkpoints.
inline std::vector<std::int64_t> checkpoints_of(const trainer::RunConfig& run) {
  std::vector<std::int64_t> steps;
  for (const auto& info : checkpoint::list_checkpoints(base::Path(run.directory) / "checkpoints"))
    steps.push_back(info.step);
  return steps;
}

inline std::vector<std::string> mesh_changes(const parallel::MeshShape& shape) {
  return {
      fmt::format("mesh.data={}", shape.data),     fmt::format("mesh.context={}", shape.context),
      fmt::format("mesh.tensor={}", shape.tensor), fmt::format("mesh.sequence={}", shape.sequence),
      fmt::format("mesh.zero={}", shape.zero),     fmt::format("mesh.replicas={}", shape.replicas)};
}

struct Ending {
  std::vector<double> losses;  // of every step
  std::vector<float> tensors;  // parameters and moments, each over its tensor's largest value
  std::vector<float> bits;     // the same as they are
};

inline Ending ending_of(const trainer::RunConfig& config, std::int64_t step) {
  Ending ending;
  std::ifstream file(config.directory + "/metrics.jsonl");
  for (std::string line; std::getline(file, line);) {
    const auto object = nlohmann::json::parse(line);
    if (object.contains("loss") && object["loss"].is_number())
      ending.losses.push_back(object["loss"]);
  }
  const checkpoint::CheckpointReader reader(checkpoint::checkpoint_path(config.directory, step));
  for (const std::string& name : reader.names()) {
    std::int64_t count = 1;
    for (const std::int64_t size : reader.shape(name)) count *= size;
    std::vector<float> values(static_cast<std::size_t>(count));
    reader.read_all(name, values.data());
    float largest = 1e-30f;
    for (const float v : values) largest = std::max(largest, std::abs(v));
    for (const float v : values) {
      ending.bits.push_back(v);
      ending.tensors.push_back(v / largest);
    }
  }
  return ending;
}

struct CrossingDifference {
  double loss = 0, tensors = 0;
  bool same_bits = true;
};

inline CrossingDifference difference(const Ending& got, const Ending& expected) {
  CrossingDifference off;
  if (got.losses.size() != expected.losses.size() || got.bits.size() != expected.bits.size())
    return {INFINITY, INFINITY, false};
  for (std::size_t i = 0; i < got.losses.size(); ++i)
    off.loss = std::max(off.loss, std::abs(got.losses[i] / expected.losses[i] - 1));
  for (std::size_t i = 0; i < got.tensors.size(); ++i)
    off.tensors =
        std::max(off.tensors, static_cast<double>(std::abs(got.tensors[i] - expected.tensors[i])));
  off.same_bits = got.bits == expected.bits && got.losses == expected.losses;
  return off;
}

// Four steps on `writer`, then five on `reader` and, for comparison, on the writer's own mesh.
// Names must be new to `data`.
inline CrossingDifference cross(const TinyRun& data, const std::string& name,
                                const parallel::MeshShape& writer,
                                const parallel::MeshShape& reader,
                                std::vector<std::string> changes = {}) {
  const auto config = [&](const std::string& part, const parallel::MeshShape& shape) {
    auto all = mesh_changes(shape);
    all.insert(all.end(), changes.begin(), changes.end());
    return data.config(name + part, all);
  };
  const auto own = config("-own", writer), other = config("-other", reader);
  train_on(writer.ranks(), own, {.stop_after = 4});
  std::filesystem::create_directories(other.directory);
  std::filesystem::copy(own.directory, other.directory, std::filesystem::copy_options::recursive);
  train_on(writer.ranks(), own);
  train_on(reader.ranks(), other);
  const CrossingDifference off = difference(ending_of(other, 9), ending_of(own, 9));
  std::filesystem::remove_all(own.directory);
  std::filesystem::remove_all(other.directory);
  return off;
}

// Meshes with little in common.
inline std::vector<parallel::MeshShape> crossing_meshes() {
  return {{.data = 1},
          {.data = 4, .zero = 3},
          {.data = 2, .context = 2, .zero = 2},
          {.data = 2, .tensor = 2, .sequence = true, .zero = 1},
          {.context = 4, .zero = 3},
          {.context = 2, .tensor = 2, .zero = 0},
          {.data = 4, .tensor = 2, .sequence = true, .zero = 3, .replicas = 2}};
}

}  // namespace eyrie::test
