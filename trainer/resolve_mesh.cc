// Checks meshes before anything else happens.
#include "trainer/resolve_mesh.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "model/context_parallel.h"
#include "model/parallel_context.h"
#include "parallel/sharding/gradient_sum.h"

namespace eyrie::trainer {

using parallel::MeshShape;

std::string mesh_error(const RunConfig& run, const MeshShape& shape) {
  try {
    model::check_tensor_ranks(run.model, shape.tensor);
    if (shape.data % shape.replicas != 0) {
      return fmt::format("mesh.replicas {} does not divide mesh.data {}", shape.replicas,
                         shape.data);
    }
    for (const StageConfig& stage : run.stages) {
      try {
        const parallel::StepPlan plan(stage.micro_shards, shape);
      } catch (const base::InputError& error) {
        return fmt::format("stage {}: {}", stage.name, error.what());
      }
      if (shape.context > 1 && stage.sequence_length / shape.context < model::kLeastPiece) {
        return fmt::format(
            "mesh.context {} leaves a rank fewer than {} tokens of the sequence_length {} of stage "
            "{}; the convolution looks back that far",
            shape.context, model::kLeastPiece, stage.sequence_length, stage.name);
      }
    }
  } catch (const base::InputError& error) {
    return error.what();
  }
  return "";
}

std::vector<MeshShape> fitting_meshes(const RunConfig& run, int ranks, const MeshShape& wanted) {
  std::vector<MeshShape> all;
  for (int context = 1; context <= ranks; ++context) {
    for (int tensor = 1; context * tensor <= ranks; ++tensor) {
      if (ranks % (context * tensor) != 0) continue;
      MeshShape shape = wanted;
      shape.data = ranks / (context * tensor);
      shape.context = context;
      shape.tensor = tensor;
      if (shape.replicas < 1 || shape.data % shape.replicas != 0) shape.replicas = 1;
      if (mesh_error(run, shape).empty()) all.push_back(shape);
    }
  }
  const auto distance = [&](const MeshShape& shape) {
    const auto off = [](int a, int b) {
      return std::abs(std::log2(a) - std::log2(std::max(b, 1)));
    };
    return off(shape.context, wanted.context) + off(shape.tensor, wanted.tensor);
  };
  std::stable_sort(all.begin(), all.end(), [&](const MeshShape& a, const MeshShape& b) {
    return distance(a) < distance(b);
  });
  return all;
}

namespace {

std::string advice(const RunConfig& run, int ranks, const MeshShape& wanted) {
  std::vector<std::string> nearest;
  for (const MeshShape& shape : fitting_meshes(run, ranks, wanted)) {
    if (nearest.size() == 3) break;
    nearest.push_back(
        fmt::format("data {} × context {} × tensor {}", shape.data, shape.context, shape.tensor));
  }
  if (nearest.empty())
    return fmt::format(". No mesh of {} fits this run; start another number",
                       base::counted(ranks, "rank"));
  return fmt::format(". The nearest meshes that fit {}: {}", base::counted(ranks, "rank"),
                     fmt::join(nearest, "; "));
}

}  // namespace

MeshShape resolve_mesh(const RunConfig& run, int ranks, int hosts) {
  MeshShape shape = run.mesh;
  const int rest = shape.context * shape.tensor;
  if (shape.data == 0) {
    if (ranks % rest != 0) {
      throw base::InputError(
          fmt::format(
              "mesh.context {} × mesh.tensor {} do not divide the job's {}; start it with a "
              "multiple of {}",
              shape.context, shape.tensor, base::counted(ranks, "rank"),
              base::counted(rest, "rank")) +
          advice(run, ranks, shape));
    }
    shape.data = ranks / rest;
  }
  if (shape.replicas == 0) {
    if (ranks % hosts != 0 || shape.data % hosts != 0) {
      throw base::InputError(
          fmt::format("mesh.replicas is nodes, but {} hosts do not share out {} data ranks evenly; "
                      "give a number that divides them",
                      hosts, shape.data));
    }
    shape.replicas = hosts;
  }
  if (shape.ranks() != ranks) {
    const std::string ranks_text = rest == 1
                                       ? fmt::format("mesh.data is {}", shape.data)
                                       : fmt::format("the mesh is data {} × context {} × tensor {}",
                                                     shape.data, shape.context, shape.tensor);
    // Suggests only what would pass.
    std::vector<std::string> ways;
    if (mesh_error(run, shape).empty())
      ways.push_back("start it with " + base::counted(shape.ranks(), "rank"));
    MeshShape open = shape;
    open.data = ranks / rest;
    open.replicas = 1;
    if (ranks % rest == 0 && mesh_error(run, open).empty())
      ways.emplace_back("set mesh.data to auto");
    throw base::InputError(fmt::format("{}, but the job has {}{}{}", ranks_text,
                                       base::counted(ranks, "rank"), ways.empty() ? "" : "; ",
                                       fmt::join(ways, ", or ")) +
                           advice(run, ranks, shape));
  }
  const std::string why = mesh_error(run, shape);
  if (!why.empty()) throw base::InputError(why + advice(run, ranks, shape));
  return shape;
}

}  // namespace eyrie::trainer
