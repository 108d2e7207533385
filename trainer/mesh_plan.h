// What training on a mesh will need: the memory of every rank, and the bytes that every rank sends
// per step. Counted by the rules that training itself follows (docs/planning.md); only the tables
// of parameters are allocated.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "model/pass_size.h"
#include "parallel/sharding/mesh.h"
#include "parallel/sharding/unit.h"
#include "tensor/dtype.h"

namespace eyrie::trainer {

// Steps of `micro_shards` micro-shards (over all ranks), each of `sequences` sequences of `length`
// tokens. The mesh must fit (resolve_mesh.h).
struct StepShape {
  tensor::DType compute = tensor::DType::kBFloat16;
  parallel::MeshShape mesh;
  std::int64_t sequences = 8, length = 2048, micro_shards = 1;
  bool recompute = false;
};

// The memory of one rank, in bytes.
struct RankMemory {
  std::int64_t masters = 0;      // fp32 masters of its shard; all if compute is fp32 and ZeRO < 3
  std::int64_t copies = 0;       // compute-dtype copies of whole units
  std::int64_t rows = 0;         // fp32 vectors kept whole, if the masters are not
  std::int64_t gathered = 0;     // ZeRO 3: room for two gathered units
  std::int64_t gradients = 0;    // fp32: partial sums of the tree, and what is being sent
  std::int64_t moments = 0;      // fp32, two
  std::int64_t activations = 0;  // what the forward pass keeps for the backward pass
  std::int64_t scratch = 0;      // temporary memory of layers
  std::int64_t exchange = 0;     // received pieces of gradients, not summed yet
  std::int64_t batch = 0;        // the tokens of a micro-shard
  std::int64_t snapshot = 0;     // copy of what this rank writes to a checkpoint, meanwhile
  std::int64_t process = 0;      // code, MPI, data
  // Parts of `scratch`, used at different times; without what is lost at the ends of chunks.
  std::int64_t logits = 0, backward = 0;
  std::int64_t all() const {
    return masters + copies + rows + gathered + gradients + moments + activations + scratch +
           exchange + batch + snapshot + process;
  }
};

// The process itself, as measured: program and libraries, MPI of a few ranks, oneDNN's own memory.
constexpr std::int64_t kProcessBytes = std::int64_t{64} << 20;

class MeshPlan {
 public:
  MeshPlan(const model::GriffinConfig& config, const StepShape& shape);

  const StepShape& shape() const { return shape_; }
  RankMemory memory(int rank) const;
  RankMemory largest_memory() const;  // of the rank that needs most

  // What a rank sends per step: activations of its micro-shards, gradient sums, and parameters.
  // Control values (losses, norms, votes) are not counted.
  parallel::AxisBytes sent(int rank) const {
    return gradients_sent(rank) + passes_sent(rank) + parameters_sent(rank);
  }
  // Its parts: gradient sums; activations; parameters, fetched by ZeRO 3 and all-gathered after the
  // update.
  parallel::AxisBytes gradients_sent(int rank) const;
  parallel::AxisBytes passes_sent(int rank) const;
  parallel::AxisBytes parameters_sent(int rank) const;
  std::int64_t sent_by_all() const;

  std::int64_t micro_shards_per_rank() const { return shape_.micro_shards / shape_.mesh.data; }
  const model::PassSize& pass(int context_rank, int tensor_rank) const;
  // Elements that a rank updates.
  std::int64_t updated(int rank) const;

 private:
  struct Place {
    int replica, shard_rank, context, tensor;
  };
  struct Column {  // what all ranks with one tensor slice have in common
    std::vector<parallel::Unit> units;
    std::int64_t vectors = 0;                   // elements of parameters not in matrix products
    mutable std::vector<std::int64_t> fetches;  // of fetches(), on demand
  };
  Place place_of(int rank) const;
  const Column& column(int tensor_rank) const;
  // Elements [begin, end) of a unit that the rank updates.
  std::pair<std::int64_t, std::int64_t> shard(const Place& place, std::size_t unit) const;
  // Where a shard rank's part of a unit begins and ends.
  std::pair<std::int64_t, std::int64_t> cut(const Place& place, std::size_t unit) const;
  std::int64_t own(const Place& place, std::size_t unit) const;  // its length
  int stage() const;  // ZeRO stage of gradients; 1 if the shard group has one rank
  bool sharded() const;
  bool whole_masters() const;
  std::int64_t gradient_bytes(const Place& place) const;
  std::int64_t exchange_bytes(const Place& place) const;
  std::int64_t rows_cut(const Place& place) const;
  std::int64_t tensor_sums(const Place& place) const;
  // How often a step all-gathers each unit (ZeRO 3).
  const std::vector<std::int64_t>& fetches(const Column& column) const;
  // A rank with an equal pass, whose numbers are used for this one too.
  std::pair<int, int> stand_in(int context_rank, int tensor_rank) const;

  model::GriffinConfig config_;
  StepShape shape_;
  mutable std::map<int, Column> columns_;                          // by tensor rank, on demand
  mutable std::map<std::pair<int, int>, model::PassSize> passes_;  // by context and tensor rank
};

// Whether any parameter of the unit is an operand of matrix products.
bool has_products(const parallel::Unit& unit);

}  // namespace eyrie::trainer
