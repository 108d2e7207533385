// Describes this processor, for `eyrie version` and logs.
#pragma once

#include <string>

namespace eyrie::tensor {

// Returns lines of "name  value": backends, SIMD target in use, instruction set of the products,
// cores.
std::string describe_processor();

}  // namespace eyrie::tensor
