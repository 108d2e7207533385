// What training on a mesh will need: the memory of every rank, and the bytes that every rank sends
// per step. Found by running the code of training on meta, rank by rank: passes (pass_plan.h), then
// the optimizer with its gradient sums, gathered parameters and update (docs/planning.md).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "planning/pass_plan.h"

namespace eyrie::planning {

// Steps of `micro_shards` micro-shards (over all ranks), each of `sequences` sequences of `length`
// tokens. The mesh must fit (trainer/resolve_mesh.h).
struct StepShape {
  tensor::DType compute = tensor::DType::kBFloat16;
  parallel::MeshShape mesh;
  std::int64_t sequences = 8, length = 2048, micro_shards = 1;
  model::Recompute recompute = model::Recompute::kNone;
  friend bool operator==(const StepShape&, const StepShape&) = default;
};

// The memory of one rank, in bytes.
struct RankMemory {
  std::int64_t masters = 0;      // fp32 masters of its shard; all if compute is fp32 and ZeRO < 3
  std::int64_t copies = 0;       // compute-dtype copies of whole units
  std::int64_t vectors = 0;      // fp32 parameters kept whole, if the masters are not
  std::int64_t gathered = 0;     // ZeRO 3: room for two gathered units
  std::int64_t gradients = 0;    // fp32: partial sums of the tree, and what is being sent
  std::int64_t moments = 0;      // fp32, two
  std::int64_t activations = 0;  // what the forward pass keeps for the backward pass
  std::int64_t scratch = 0;      // temporary memory of layers
  std::int64_t exchange = 0;     // received pieces of gradients, not summed yet
  std::int64_t batch = 0;        // the tokens of a micro-shard
  std::int64_t snapshot = 0;     // copy of what this rank writes to a checkpoint, meanwhile
  std::int64_t check = 0;        // check_every: gradients of a neighbour's micro-shard
  std::int64_t process = 0;      // code, MPI, data
  // Parts of `scratch`, used at different times; without what is lost at the ends of chunks.
  std::int64_t logits = 0, backward = 0;
  std::int64_t all() const {
    return masters + copies + vectors + gathered + gradients + moments + activations + scratch +
           exchange + batch + snapshot + check + process;
  }
};

// The process itself, as measured: program and libraries, MPI of a few ranks, oneDNN's own memory.
constexpr std::int64_t kProcessBytes = std::int64_t{64} << 20;

class MeshPlan {
 public:
  // Plans of one model share their passes, which most meshes have in common.
  MeshPlan(std::shared_ptr<PassPlans> passes, const StepShape& shape);
  MeshPlan(const model::GriffinConfig& config, const StepShape& shape)
      : MeshPlan(std::make_shared<PassPlans>(config), shape) {}

  const StepShape& shape() const { return shape_; }
  RankMemory memory(int rank) const;
  // Of the rank that needs most. On meshes of more than `all_up_to` ranks the last data rank stands
  // for all, which has the largest slices, with the first, a middle and the last piece of
  // sequences.
  RankMemory largest_memory(int all_up_to = 64) const;

  // What a rank sends per step: activations of its micro-shards, gradient sums, and parameters.
  // Control values (losses, norms, votes) are not counted.
  parallel::AxisBytes sent(int rank) const {
    return gradients_sent(rank) + passes_sent(rank) + parameters_sent(rank);
  }
  // Its parts: gradient sums; activations; parameters, gathered by ZeRO 3 for their use and
  // all-gathered after the update.
  parallel::AxisBytes gradients_sent(int rank) const { return step(rank).gradients; }
  parallel::AxisBytes passes_sent(int rank) const;
  parallel::AxisBytes parameters_sent(int rank) const { return step(rank).parameters; }
  // On more than 1,024 ranks, from those of the first and the last data rank.
  std::int64_t sent_by_all() const;

  std::int64_t micro_shards_per_rank() const { return shape_.micro_shards / shape_.mesh.data; }
  const PassPlan& pass(int context_rank, int tensor_rank) const;
  // Elements that a rank updates.
  std::int64_t updated(int rank) const { return step(rank).updated; }

 private:
  // A step of one rank, except for what its passes take and send.
  struct RankStep {
    RankMemory memory;
    parallel::AxisBytes gradients, parameters;
    std::int64_t updated = 0;
  };
  const RankStep& step(int rank) const;
  RankStep run_step(int rank) const;
  // A rank with an equal pass, whose numbers are used for this one too.
  std::pair<int, int> stand_in(int context_rank, int tensor_rank) const;

  StepShape shape_;
  std::shared_ptr<PassPlans> passes_;      // planned on demand, like all below
  mutable std::map<int, RankStep> steps_;  // by rank
  // By tensor rank: its slices of the parameters.
  mutable std::map<int, std::vector<parallel::Unit>> units_;
};

}  // namespace eyrie::planning
