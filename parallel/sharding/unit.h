// Parameter units: a unit (embedding, one block, final norm) is one flat buffer and a table of the
// parameters in it. This one table serves initialisation, tensor-parallel slicing, the optimizer's
// sharding, checkpoints, and weight import and export.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "base/philox.h"
#include "parallel/communication/cuts.h"

namespace eyrie::parallel {

// A parameter's value at the start of training, from its random numbers, the element's index in the
// whole tensor and the parameter's `deviation`.
using InitialValue = float (*)(const base::Philox& random, std::uint64_t index, double deviation);

// What tensor ranks do with a gradient: each owns its slice's gradient, or all hold the same
// parameter and add their partial sums.
enum class TensorGradient { kOwn, kSum };

struct ParameterInfo {
  std::string name;                 // the official flax path: "blocks.0/mlp_block/ffw_up/w"
  std::vector<std::int64_t> shape;  // global
  std::vector<std::int64_t> start = {}, extent = {};  // this tensor rank's slice
  std::int64_t offset = 0;               // of the slice in the unit's buffer, in elements
  InitialValue initial_value = nullptr;  // null: zeros
  double deviation = 0;                  // of normally distributed initial values
  bool weight_decay = false;             // weight decay applies (matrices only, by default)
  bool product = false;    // operand of a matrix product or lookup: has a copy in compute dtype
  std::int64_t parts = 1;  // number of matrices concatenated along the leading axis
  bool linear = false;  // each is a linear layer's (in, out) kernel; inference stores it (out, in)
  TensorGradient tensor_gradient = TensorGradient::kOwn;

  std::int64_t count() const;        // elements of the slice
  std::int64_t whole_count() const;  // of the whole tensor
  // Whether every tensor rank holds the whole parameter. (Only one of them then counts and saves
  // it.)
  bool replicated() const { return extent == shape; }
};

// Maps element `index` of a parameter's slice to its index in the whole tensor; both are row-major.
std::int64_t global_index(const ParameterInfo& info, std::int64_t index);

struct Unit {
  std::string name;
  std::vector<ParameterInfo> parameters = {};
  std::int64_t size = 0;  // in elements, with gaps for alignment; a multiple of 16

  // Appends a parameter and sets its offset. An empty `extent` means the whole tensor. Returns its
  // index in `parameters`.
  int add(ParameterInfo info);
};

// The part of a parameter that lies in a range of the unit's buffer: its elements [begin, end) of
// the buffer.
struct ParameterSpan {
  const ParameterInfo& info;
  int index;  // in the unit's `parameters`
  std::int64_t begin, end;
  std::int64_t count() const { return end - begin; }
};
// Returns the parts in [begin, end) of the unit's buffer that are not empty, in order. The unit
// must outlive them.
std::vector<ParameterSpan> spans_in(const Unit& unit, std::int64_t begin, std::int64_t end);

// The gradient norm, and the cuts of a unit over ranks, work in blocks of up to 4,096 elements of
// one tensor.
constexpr std::int64_t kBlockElements = 4096;
// Calls visit(ParameterSpan) for the blocks in [begin, end) of the unit's buffer, in order. Both
// are cuts.
template <class Visit>
void for_blocks(const Unit& unit, std::int64_t begin, std::int64_t end, const Visit& visit) {
  for (const ParameterSpan& span : spans_in(unit, begin, end)) {
    for (std::int64_t at = span.begin; at < span.end; at += kBlockElements)
      visit(ParameterSpan{span.info, span.index, at, std::min(at + kBlockElements, span.end)});
  }
}

// Cuts the unit's buffer, which must outlive them, into slices of whole blocks, in equal numbers up
// to rounding.
Cuts cuts_of(const Unit& unit, int ranks);

}  // namespace eyrie::parallel
