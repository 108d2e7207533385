// Names and layouts of parameters in other formats: the official flax and torch files, and
// transformers. One table, read in both directions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "parallel/sharding/unit.h"

namespace eyrie::model {

enum class Naming { kFlax, kTorch, kHuggingFace };

// A tensor of a release that holds a parameter or one of its parts, elements [part · count, (part +
// 1) · count) of the parameter, where count is the tensor's. `transposed`: as a matrix of its first
// axis by the others, the tensor is the transpose of those elements.
struct NamedTensor {
  std::string name;
  std::vector<std::int64_t> shape;
  bool transposed = false;
  std::int64_t part = 0;

  std::int64_t count() const;
};

// Returns the tensors that make up a parameter, in the order of their parts.
std::vector<NamedTensor> tensors_of(const parallel::ParameterInfo& row, Naming naming);

// Returns the parameter's name ("blocks.3/mlp_block/ffw_up/w") for a tensor's name, or nullopt if
// there is none. Flax names may have '.' for '/', and both official releases may have "params"
// before the name.
std::optional<std::string> row_name_of(const std::string& name, Naming naming);

}  // namespace eyrie::model
