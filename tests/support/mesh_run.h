// Twenty steps of a tiny Griffin on any mesh, in threads of one process, with every step's loss and
// summed gradients put together again to whole tensors: what meshes are compared by.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "data_pipeline/next_token_stream.h"
#include "support/tiny_run.h"
#include "text/tokenizer.h"
#include "trainer/objectives/next_token.h"
#include "trainer/optimizer.h"
#include "trainer/schedule.h"

namespace eyrie::test {

using WholeTensors = std::map<std::string, std::vector<float>>;

struct MeshResult {
  std::vector<double> losses, grad_norms;
  std::vector<WholeTensors> gradients;  // by step
  WholeTensors weights;                 // after the last
};

// A: 5 heads, odd widths and vocabulary. B: 8 heads, 8 gate blocks of odd width, a vocabulary that
// 2, 4 and 8 do not divide.
inline model::GriffinConfig tiny_model(char which) {
  model::GriffinConfig config;
  config.preset = std::string("tiny-") + which;
  const bool a = which == 'A';
  config.heads = a ? 5 : 8;
  config.gate_blocks = a ? 5 : 8;
  config.width = 4 * config.heads;
  config.rnn_width = 7 * config.gate_blocks;
  config.mlp_width = a ? 33 : 40;
  config.vocabulary = a ? 259 : 261;
  config.layers = "RAR";
  config.window = 9;
  config.soft_cap = 30;
  model::check(config);
  return config;
}

struct MeshProblem {
  char which = 'A';
  int steps = 20;
  bool bf16 = false, keep_gradients = true;
  std::int64_t micro_shards = 8;
};

namespace mesh_run {

// This rank's part of a unit's buffer into the whole tensors.
inline void put(const parallel::Unit& unit, const float* part, std::int64_t begin, std::int64_t end,
                WholeTensors& whole) {
  for (const parallel::ParameterInfo& row : unit.parameters) {
    std::vector<float>& values = whole[row.name];
    values.resize(static_cast<std::size_t>(row.whole_count()), std::nanf(""));
    for (std::int64_t at = std::max(begin, row.offset);
         at < std::min(end, row.offset + row.count()); ++at)
      values[static_cast<std::size_t>(parallel::global_index(row, at - row.offset))] =
          part[at - begin];
  }
}

}  // namespace mesh_run

inline MeshResult run_mesh(const TinyRun& data, const MeshProblem& problem,
                           const parallel::MeshShape& shape) {
  const auto shards = data_pipeline::ShardSet::open(
      (data.path() / "shards").string(), {"bytes", text::open_tokenizer("bytes")->hash(), {}, {}});
  data_pipeline::StreamConfig stream_config;
  stream_config.mixture = {{"web", 0.7}, {"math", 0.3}};
  stream_config.sequence_length = 37;
  stream_config.batch_sequences = problem.micro_shards;
  stream_config.micro_shards = problem.micro_shards;
  stream_config.seed = 3;
  stream_config.stage = "mesh";
  const data_pipeline::NextTokenStream stream(shards, stream_config);
  const trainer::ScheduleConfig schedule{.peak = 1e-3, .final = 1e-4, .warmup = 4};

  MeshResult result;
  result.gradients.resize(static_cast<std::size_t>(problem.steps));
  std::mutex mutex;
  parallel::run_in_process(shape.ranks(), [&](parallel::Communicator& world) {
    const parallel::Mesh mesh(world, shape);
    const model::Griffin griffin(tiny_model(problem.which), model::ParallelContext::of(mesh));
    model::TrainingParameters parameters = trainer::make_parameters(
        griffin.units(), problem.bf16 ? tensor::DType::kBFloat16 : tensor::DType::kFloat32, mesh);
    trainer::Optimizer optimizer({}, parameters, mesh);
    parameters.initialise(7);
    optimizer.all_gather_parameters();
    model::Workspace workspace;
    for (int step = 0; step < problem.steps; ++step) {
      const parallel::StepPlan plan(problem.micro_shards, shape);
      const double scale = 1.0 / static_cast<double>(stream.target_count(step));
      std::vector<double> losses(static_cast<std::size_t>(problem.micro_shards), 0.0);
      optimizer.begin(plan);
      for (std::int64_t number = 0; number < plan.count(); ++number) {
        const std::int64_t m = plan.micro_shard(mesh.data_rank(), number);
        const data_pipeline::NextTokenBatch batch = stream.rows_of(step, m);
        const double loss = model::token_loss(griffin, parameters, trainer::view_of(batch),
                                              workspace, static_cast<float>(scale), optimizer);
        if (mesh.tensor_rank() == 0) losses[static_cast<std::size_t>(m)] = loss;
      }
      const double norm = optimizer.grad_norm();
      world.all_reduce(std::span<double>(losses), parallel::Reduce::kSum);
      double loss = 0;
      for (const double part : losses) loss += part;
      {
        const std::lock_guard lock(mutex);
        if (world.rank() == 0) {
          result.losses.push_back(loss * scale);
          result.grad_norms.push_back(norm);
        }
        for (std::size_t u = 0; problem.keep_gradients && u < griffin.units().size(); ++u) {
          const auto part = optimizer.gradient_part(u);
          const std::int64_t begin = optimizer.part_begin(u);
          mesh_run::put(griffin.units()[u], part.f32(), begin, begin + part.count(),
                        result.gradients[static_cast<std::size_t>(step)]);
        }
      }
      optimizer.step(trainer::learning_rate(schedule, step, problem.steps), norm);
    }
    const std::lock_guard lock(mutex);
    for (std::size_t u = 0; u < griffin.units().size(); ++u) {
      const std::int64_t begin = optimizer.part_begin(u),
                         count = optimizer.gradient_part(u).count();
      mesh_run::put(griffin.units()[u], parameters.masters(u, begin, begin + count).f32(), begin,
                    begin + count, result.weights);
    }
  });
  return result;
}

struct MeshDifference {
  double loss = 0;      // the worst, relative
  double gradient = 0;  // the worst, of the tensor's largest value
  std::string tensor;   // whose
};

inline MeshDifference difference(const MeshResult& got, const MeshResult& expected) {
  MeshDifference worst;
  for (std::size_t step = 0; step < expected.losses.size(); ++step) {
    worst.loss = std::max(worst.loss, std::abs(got.losses[step] / expected.losses[step] - 1));
    for (const auto& [name, values] : expected.gradients[step]) {
      const auto& others = got.gradients[step].at(name);
      double largest = 0, most = 0;
      for (std::size_t i = 0; i < values.size(); ++i) {
        largest = std::max(largest, static_cast<double>(std::abs(values[i])));
        const double off =
            std::abs(static_cast<double>(others[i]) - static_cast<double>(values[i]));
        most = std::isnan(off) ? INFINITY : std::max(most, off);
      }
      if (most > worst.gradient * largest) {
        worst.gradient = most / largest;
        worst.tensor = name + " in step " + std::to_string(step + 1);
      }
    }
  }
  return worst;
}

// Every mesh of up to `most` ranks that the model allows, with every stage of ZeRO.
inline std::vector<parallel::MeshShape> all_meshes(char which, int most) {
  std::vector<parallel::MeshShape> all;
  for (int tensor = 1; tensor <= (which == 'A' ? 1 : 4); tensor *= 2) {
    for (int context = 1; context <= 4; context *= 2) {
      for (int data = 1; data * context * tensor <= most; data *= 2) {
        for (int sequence = 0; sequence <= (tensor > 1 ? 1 : 0); ++sequence) {
          for (int zero = 0; zero <= 3; ++zero)
            all.push_back({data, context, tensor, sequence != 0, zero, 1, false});
        }
      }
    }
  }
  return all;
}

}  // namespace eyrie::test
