// Memory over a run's stages, the model of a step's time, and the search for meshes.
#include "planning/plan.h"

#include <algorithm>
#include <set>

#include "model/griffin.h"
#include "model/model_statistics.h"
#include "parallel/communication/exchange.h"
#include "trainer/resolve_mesh.h"
#include "trainer/silent_check.h"
#include "trainer/validation.h"

namespace eyrie::planning {

using parallel::AxisBytes;
using parallel::MeshShape;

StepShape step_shape(const RunConfig& run, const StageConfig& stage, const MeshShape& mesh) {
  return {.compute = run.bf16 ? tensor::DType::kBFloat16 : tensor::DType::kFloat32,
          .mesh = mesh,
          .sequences = stage.batch_sequences / stage.micro_shards,
          .length = stage.sequence_length,
          .micro_shards = stage.micro_shards,
          .recompute = run.recompute};
}

RunConfig with_recompute(const RunConfig& run, const MeshShape& mesh, std::int64_t most) {
  return with_recompute(run, mesh, most, std::make_shared<PassPlans>(run.model));
}

RunConfig with_recompute(const RunConfig& run, const MeshShape& mesh, std::int64_t most,
                         const std::shared_ptr<PassPlans>& passes) {
  RunConfig decided = run;
  if (!run.recompute_auto) return decided;
  using model::Recompute;
  for (const auto recompute : {Recompute::kNone, Recompute::kMlp, Recompute::kBlocks}) {
    decided.recompute = recompute;
    if (most == 0 || memory_needed(decided, mesh, passes).all() <= most) break;
  }
  return decided;
}

RankMemory memory_needed(const RunConfig& run, const MeshShape& mesh) {
  return memory_needed(run, mesh, std::make_shared<PassPlans>(run.model), 64);
}

RankMemory memory_needed(const RunConfig& run, const MeshShape& mesh,
                         const std::shared_ptr<PassPlans>& passes, int all_up_to) {
  RankMemory most;
  std::vector<std::pair<StepShape, RankMemory>> known;  // stages often have equal steps
  const auto largest = [&](const StepShape& shape) {
    for (const auto& [other, memory] : known)
      if (other == shape) return memory;
    return known.emplace_back(shape, MeshPlan(passes, shape).largest_memory(all_up_to)).second;
  };
  for (const StageConfig& stage : run.stages) {
    const StepShape shape = step_shape(run, stage, mesh);
    RankMemory memory = largest(shape);
    if (stage.validate_sequences > 0) {
      const std::int64_t columns = mesh.data * mesh.context;
      const PassPlan& pass = passes->plan(
          {.compute = shape.compute,
           .sequences = std::min(trainer::validation_rows_at_once(stage.sequence_length),
                                 (stage.validate_sequences + columns - 1) / columns),
           .length = stage.sequence_length,
           .mesh = {.tensor = mesh.tensor, .sequence = mesh.sequence},
           .training = false});
      // Validation uses the same arenas.
      memory.activations = std::max(memory.activations, pass.saved_touched);
      memory.scratch = std::max(memory.scratch, pass.scratch_touched);
    }
    if (!run.checkpoint_async) memory.snapshot = 0;  // written from the training's own memory
    if (memory.all() > most.all()) most = memory;
  }
  if (run.check_every > 0) {
    const parallel::Mesh place = parallel::Mesh::planned(mesh, 0);
    most.check = trainer::GradientDigest::bytes(
        model::Griffin(run.model, model::ParallelContext::of(place)).units());
  }
  return most;
}

std::vector<MemoryPart> memory_parts(const RankMemory& memory) {
  std::vector<MemoryPart> parts = {
      {"weights", memory.masters, "fp32 masters"},
      {"compute copies", memory.copies, "what products read"},
      {"vectors", memory.vectors, "whole norms and biases, fp32"},
      {"gathered units", memory.gathered, "gathered while they are used"},
      {"gradients", memory.gradients, "fp32, partial sums of micro-shards"},
      {"moments", memory.moments, "fp32, two, this rank's share"},
      {"activations", memory.activations, "kept for the backward pass"},
      {"scratch", memory.scratch, "borrowed by layers: logits, gradients of activations"},
      {"exchange", memory.exchange, "pieces of gradients under way"},
      {"batch", memory.batch, "tokens of a micro-shard"},
      {"snapshot", memory.snapshot, "while a checkpoint is written"},
      {"check", memory.check, "gradients of a neighbour's micro-shard, every check_every steps"},
      {"process", memory.process, "program, libraries, MPI, data"}};
  std::erase_if(parts, [](const MemoryPart& part) { return part.bytes == 0; });
  std::stable_sort(parts.begin(), parts.end(),
                   [](const MemoryPart& a, const MemoryPart& b) { return a.bytes > b.bytes; });
  return parts;
}

namespace {

// Positions on an axis that represent all: ranks differ only in the rounding of their slices.
std::set<int> some_of(int ranks) { return {0, std::min(1, ranks - 1), ranks / 2, ranks - 1}; }

double tokens_of(const StepShape& shape) {
  return static_cast<double>(shape.sequences * shape.micro_shards * shape.length);
}

}  // namespace

double step_flops(const RunConfig& run, const StepShape& shape) {
  const model::Griffin griffin(run.model);
  double flops = model::token_flops(griffin, shape.length).all();
  // What is computed again is no model FLOP, but executed: a third of all, or the products of the
  // MLPs' two branches.
  if (shape.recompute == model::Recompute::kBlocks) flops *= 4.0 / 3.0;
  if (shape.recompute == model::Recompute::kMlp)
    flops += 4.0 * static_cast<double>(run.model.width * run.model.mlp_width) *
             static_cast<double>(run.model.layers.size());
  return tokens_of(shape) * flops;
}

AxisBytes most_sent(const MeshPlan& plan) {
  const MeshShape& mesh = plan.shape().mesh;
  AxisBytes most;
  for (const int data : some_of(mesh.data)) {
    for (const int context : some_of(mesh.context)) {
      for (const int tensor : some_of(mesh.tensor)) {
        const AxisBytes sent = plan.sent((data * mesh.context + context) * mesh.tensor + tensor);
        if (sent.all() > most.all()) most = sent;
      }
    }
  }
  return most;
}

StepTime step_time(const RunConfig& run, const MeshPlan& plan, const Machine& machine) {
  const StepShape& shape = plan.shape();
  const MeshShape& mesh = shape.mesh;
  // The rank in the middle of every axis: it has the keys of a whole window before it.
  const int rank =
      (mesh.data / 2 * mesh.context + mesh.context / 2) * mesh.tensor + mesh.tensor / 2;
  const auto micro_shards = static_cast<double>(plan.micro_shards_per_rank());
  const auto& pass = plan.pass(mesh.context / 2, mesh.tensor / 2);
  const auto updated = static_cast<double>(plan.updated(rank));
  StepTime time;
  time.products =
      step_flops(run, shape) / mesh.ranks() / (machine.flops(shape.compute) * machine.efficiency);
  time.elementwise =
      4 * micro_shards * static_cast<double>(pass.activations) / machine.memory_bandwidth;
  const double weights =
      static_cast<double>(model::whole_parameter_count(model::Griffin(run.model).units())) /
      mesh.tensor;
  const double summed = mesh.zero < 2 || mesh.shard_group_size() == 1 ? weights : updated;
  const double copied = shape.compute == tensor::DType::kFloat32 ? 0 : 2;
  time.update =
      ((28 + copied) * updated + 12 * (micro_shards - 1) * summed) / machine.memory_bandwidth;

  const auto seconds = [](double bytes, double exchanges, const Machine::Link& link) {
    return bytes / link.bandwidth + exchanges * link.latency;
  };
  time.tensor =
      seconds(static_cast<double>(plan.passes_sent(rank).tensor),
              micro_shards * static_cast<double>(pass.tensor_exchanges), machine.link(mesh.tensor));
  time.context = seconds(static_cast<double>(plan.passes_sent(rank).context),
                         micro_shards * static_cast<double>(pass.context_exchanges),
                         machine.link(mesh.tensor * mesh.context));
  // Units are exchanged one by one, each in rounds of pieces.
  const auto units = static_cast<double>(run.model.layers.size() + 2);
  const auto rounds = [&](double bytes, int ranks) {
    if (ranks == 1) return 0.0;
    return units + bytes / static_cast<double>((ranks - 1) * parallel::exchange_piece(ranks));
  };
  const Machine::Link &sharing = machine.link(mesh.shard_group_size() * mesh.tensor),
                      &replicas = machine.link(mesh.ranks());
  const AxisBytes gradients = plan.gradients_sent(rank), parameters = plan.parameters_sent(rank);
  const auto exchange = [&](std::int64_t sent, int ranks, const Machine::Link& link) {
    const auto bytes = static_cast<double>(sent);
    return seconds(bytes, rounds(bytes, ranks), link);
  };
  time.gradients = exchange(gradients.shard, mesh.shard_group_size(), sharing) +
                   exchange(gradients.replicate, mesh.replicas, replicas);
  const double brought = exchange(parameters.shard, mesh.shard_group_size(), sharing);
  const double backward = time.products * 2 / 3;
  if (mesh.zero == 3) {
    time.fetches = brought;
    time.waiting = std::max(0.0, time.gradients + time.fetches - time.products);
  } else {
    time.gather = brought;
    // Below ZeRO 2 gradients overlap only the last micro-shard's backward pass.
    const double beside = mesh.zero < 2 ? backward / micro_shards : backward;
    time.waiting = std::max(0.0, time.gradients - beside);
  }
  return time;
}

std::vector<Candidate> best_meshes(const RunConfig& run, const StageConfig& stage, int ranks,
                                   const Machine& machine, std::int64_t limit) {
  const auto passes = std::make_shared<PassPlans>(run.model);
  std::vector<Candidate> all;
  for (MeshShape mesh : trainer::fitting_meshes(run, ranks, run.mesh)) {
    for (const bool sequence : {false, true}) {
      if (sequence && mesh.tensor == 1) continue;
      for (int zero = 0; zero <= 3; ++zero) {
        if (mesh.shard_group_size() == 1 && zero != 1) continue;  // nothing to shard
        mesh.sequence = sequence;
        mesh.zero = zero;
        const RunConfig decided = with_recompute(run, mesh, limit, passes);
        const std::int64_t memory = memory_needed(decided, mesh, passes).all();
        if (limit > 0 && memory > limit) continue;
        const MeshPlan plan(passes, step_shape(decided, stage, mesh));
        all.push_back({mesh, memory, step_time(decided, plan, machine)});
      }
    }
  }
  std::stable_sort(all.begin(), all.end(), [](const Candidate& a, const Candidate& b) {
    return a.time.all() < b.time.all();
  });
  return all;
}

}  // namespace eyrie::planning
