// The memory and communication of one pass on one rank, found by running the model on meta: the
// real layers, on tensors without memory and communicators that count.
#pragma once

#include <cstdint>
#include <map>
#include <tuple>
#include <vector>

#include "model/griffin.h"
#include "parallel/sharding/mesh.h"

namespace eyrie::planning {

// `sequences` whole sequences of `length` tokens, by the rank at this position of the context and
// tensor axes. (The mesh's other axes don't matter to a pass.)
struct PassShape {
  tensor::DType compute = tensor::DType::kBFloat16;
  std::int64_t sequences = 1, length = 2048;
  parallel::MeshShape mesh = {};
  int context_rank = 0, tensor_rank = 0;
  bool training = true;  // false: the loss only
  model::Recompute recompute = model::Recompute::kNone;
};

// What a pass does to a unit of parameters, in order: so that its gradient sums and gathered
// weights can be planned without running the pass again.
struct UnitCall {
  enum class Kind { kGradient, kFinished, kUnshard, kReshard } kind;
  std::size_t unit, next = 0;  // `next` as in Parameters::unshard
};

// Bytes, except for the exchanges. The first two are what a Workspace's arenas hold, the next two
// how much of that is ever touched, the three after them how much is allocated at once, without
// what is lost at the ends of chunks.
struct PassPlan {
  std::int64_t saved_held = 0, scratch_held = 0;
  std::int64_t saved_touched = 0, scratch_touched = 0;
  std::int64_t activations = 0;  // kept for the backward pass
  std::int64_t logits = 0;       // scratch up to the end of the head: logits and their gradient
  std::int64_t backward = 0;     // scratch of the blocks' backward pass, not at the same time
  std::int64_t context_sent = 0, tensor_sent = 0;            // payload
  std::int64_t context_exchanges = 0, tensor_exchanges = 0;  // that the pass waits for
  std::vector<UnitCall> calls;
};

// Attention is counted for sequences that are one document each, which needs the most, and for the
// calling thread's number of threads, each of which has memory for one tile of scores.
PassPlan plan_pass(const model::GriffinConfig& config, const PassShape& shape);

// The passes of one model, each planned once. Used by one thread.
class PassPlans {
 public:
  explicit PassPlans(const model::GriffinConfig& config) : config_(config) {}
  const model::GriffinConfig& config() const { return config_; }
  // The plan stays where it is as long as this object lives.
  const PassPlan& plan(const PassShape& shape);

 private:
  using Key = std::tuple<tensor::DType, std::int64_t, std::int64_t, int, int, int, int, bool, bool,
                         model::Recompute>;
  model::GriffinConfig config_;
  std::map<Key, PassPlan> plans_;
};

}  // namespace eyrie::planning
