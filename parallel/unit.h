// Parameter units: a unit (embedding, one block, final norm) is one flat buffer and a table of what
// lies in it. This one table serves initialisation, slicing, the optimizer's sharding, checkpoints,
// and weight import and export.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace eyrie::parallel {

// How a parameter starts: zeros; normal(0, deviation²); or the RG-LRU's a_param, with a² uniform in
// [0.9², 0.999²] (official code) or a⁸ uniform in [0.9, 0.999] (paper).
enum class Init { kZeros, kNormal, kDecay, kPaperDecay };

// What tensor ranks do with a gradient: each owns its slice, or all hold the same parameter and
// add.
enum class TensorGradient { kOwn, kSum };

struct ParameterRow {
  std::string name;                 // the official flax path: "blocks.0/mlp_block/ffw_up/w"
  std::vector<std::int64_t> shape;  // global
  std::vector<std::int64_t> start = {}, extent = {};  // this tensor rank's slice of it
  std::int64_t offset = 0;  // of the slice in the unit's buffer, in elements
  Init init = Init::kZeros;
  double deviation = 0;    // of kNormal
  bool decay = false;      // weight decay applies (matrices only, by default)
  bool product = false;    // an operand of a matrix product or lookup: has a copy in compute dtype
  std::int64_t parts = 1;  // matrices that lie one after the other along the leading axis
  bool linear = false;     // each (in, out), a linear layer's kernel: inference keeps it (out, in)
  TensorGradient tensor_gradient = TensorGradient::kOwn;

  std::int64_t count() const;        // elements of the slice
  std::int64_t whole_count() const;  // of the whole tensor
  // Every tensor rank has all of it (where there are several: one of them counts, and saves).
  bool replicated() const { return extent == shape; }
};

// Where element `index` of a row's slice lies in the whole tensor, both in row-major order.
std::int64_t global_index(const ParameterRow& row, std::int64_t index);

struct Unit {
  std::string name;
  std::vector<ParameterRow> rows = {};
  std::int64_t size = 0;  // elements, gaps for alignment included; a multiple of 16

  // Appends a row that holds the whole tensor; returns its number.
  int add(ParameterRow row);
};

// The gradient norm, and the cuts of a unit over data ranks, go by blocks of 4,096 elements of one
// tensor.
constexpr std::int64_t kBlockElements = 4096;
struct UnitBlock {
  int row;
  std::int64_t begin, count;  // elements in the unit's buffer
};
std::vector<UnitBlock> blocks_of(const Unit& unit);

// ranks + 1 offsets into the unit's buffer: rank r owns [cuts[r], cuts[r + 1]). Whole blocks, in
// equal numbers but for the rounding; a rank's range may be empty.
std::vector<std::int64_t> cuts_of(const Unit& unit, int ranks);
std::int64_t cut_of(const Unit& unit, int ranks, int rank);  // one of them

}  // namespace eyrie::parallel
