// Activation recomputation (Chen et al. 2016): what training does not keep for the backward pass,
// but computes again there. The bits are the same.
#pragma once

namespace eyrie::model {

// In the order of the memory they need, most first.
enum class Recompute {
  kNone,
  kMlp,     // the inside of the MLPs: a ninth more computation in a model of default widths
  kBlocks,  // all but the input of every block: a third more computation
};

// As a run file says it.
constexpr const char* name_of(Recompute recompute) {
  return recompute == Recompute::kNone ? "none" : recompute == Recompute::kMlp ? "[mlp]" : "blocks";
}

}  // namespace eyrie::model
