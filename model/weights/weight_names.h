// Where a parameter lies in the releases of others: the official flax and torch files, and
// transformers. One table, read in both directions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "parallel/unit.h"

namespace eyrie::model {

enum class Naming { kFlax, kTorch, kHuggingFace };

// A tensor of a release that holds a parameter row, or one of its parts: elements
// [part · count, (part + 1) · count) of the row, where count is the tensor's. Transposed: seen as a
// matrix of its first axis by the others, the tensor is the transpose of those elements.
struct NamedTensor {
  std::string name;
  std::vector<std::int64_t> shape;
  bool transposed = false;
  std::int64_t part = 0;

  std::int64_t count() const;
};

// The tensors that make up a row, in the order of their parts.
std::vector<NamedTensor> tensors_of(const parallel::ParameterRow& row, Naming naming);

// The row's name ("blocks.3/mlp_block/ffw_up/w") from a tensor's: nothing where no row has it. Flax
// names may have '.' for '/', and both official releases may have "params" before the name.
std::optional<std::string> row_name_of(const std::string& name, Naming naming);

}  // namespace eyrie::model
