// What training takes on a mesh before it is started: the memory of every rank, the FLOPs, and the
// bytes that every rank sends in a step. All of it is counted by the rules that the training itself
// follows (docs/planning.md); nothing is allocated but the tables of parameters.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "model/pass_size.h"
#include "parallel/mesh.h"
#include "parallel/unit.h"
#include "tensor/dtype.h"

namespace eyrie::trainer {

// Steps of `micro_shards` micro-shards (over all ranks) of `sequences` rows of `length` tokens. The
// mesh must fit (fit_mesh.h).
struct StepShape {
  tensor::DType compute = tensor::DType::kBFloat16;
  parallel::MeshShape mesh;
  std::int64_t sequences = 8, length = 2048, micro_shards = 1;
  bool recompute = false;
};

// Bytes of one rank.
struct RankMemory {
  std::int64_t masters = 0;      // fp32, of what it updates; in fp32 below ZeRO 3 of all
  std::int64_t copies = 0;       // whole units that products read
  std::int64_t rows = 0;         // whole vectors, where masters are not whole
  std::int64_t lent = 0;         // ZeRO 3: two units, fetched for the time of their use
  std::int64_t gradients = 0;    // fp32: partial sums of the tree, and what is on its way out
  std::int64_t moments = 0;      // fp32, two
  std::int64_t activations = 0;  // what the forward pass keeps for the backward pass
  std::int64_t scratch = 0;      // what layers borrow
  std::int64_t exchange = 0;     // pieces of gradients that have come and wait to be summed
  std::int64_t batch = 0;        // the tokens of a micro-shard
  std::int64_t snapshot = 0;     // of what this rank writes to a checkpoint, while it is written
  std::int64_t process = 0;      // code, MPI, data
  // Parts of `scratch`, at different times; without the seams between pieces.
  std::int64_t logits = 0, backward = 0;
  std::int64_t all() const {
    return masters + copies + rows + lent + gradients + moments + activations + scratch + exchange +
           batch + snapshot + process;
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

  // What a rank sends in one step: its micro-shards, the sums, and the parameters after it.
  // Control values (losses, norms, votes) are not counted.
  parallel::AxisBytes sent(int rank) const {
    return gradients_sent(rank) + passes_sent(rank) + parameters_sent(rank);
  }
  // The parts of it: sums of gradients; activations; ZeRO 3's fetches and what follows the update.
  parallel::AxisBytes gradients_sent(int rank) const;
  parallel::AxisBytes passes_sent(int rank) const;
  parallel::AxisBytes parameters_sent(int rank) const;
  std::int64_t sent_by_all() const;

  std::int64_t micro_shards_a_rank() const { return shape_.micro_shards / shape_.mesh.data; }
  const model::PassSize& pass(int context_rank, int tensor_rank) const;
  // Elements that a rank updates.
  std::int64_t updated(int rank) const;

 private:
  struct Place {
    int replica, sharer, context, tensor;
  };
  struct Column {  // what ranks with one tensor slice have in common
    std::vector<parallel::Unit> units;
    std::int64_t vectors = 0;                   // elements of rows that are no operands of products
    mutable std::vector<std::int64_t> fetches;  // of fetches(), when asked
  };
  Place place_of(int rank) const;
  const Column& column(int tensor_rank) const;
  // Elements [begin, end) of a unit that the rank updates.
  std::pair<std::int64_t, std::int64_t> shard(const Place& place, std::size_t unit) const;
  // Where a sharer's part of a unit begins and ends.
  std::pair<std::int64_t, std::int64_t> cut(const Place& place, std::size_t unit) const;
  std::int64_t own(const Place& place, std::size_t unit) const;  // the length of it
  int stage() const;  // of gradients: 1 where there is one sharer
  bool on_demand() const;
  bool whole_masters() const;
  std::int64_t gradient_bytes(const Place& place) const;
  std::int64_t exchange_bytes(const Place& place) const;
  std::int64_t rows_cut(const Place& place) const;
  std::int64_t tensor_sums(const Place& place) const;
  // How often a step fetches each unit (ZeRO 3).
  const std::vector<std::int64_t>& fetches(const Column& column) const;
  // A rank whose pass is the same, and for whom it is counted.
  std::pair<int, int> stand_in(int context_rank, int tensor_rank) const;

  model::GriffinConfig config_;
  StepShape shape_;
  mutable std::map<int, Column> columns_;                          // by tensor rank, when asked
  mutable std::map<std::pair<int, int>, model::PassSize> passes_;  // by context and tensor rank
};

// Whether any of its rows is an operand of products.
bool has_products(const parallel::Unit& unit);

}  // namespace eyrie::trainer
