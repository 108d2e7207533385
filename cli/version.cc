// eyrie version
#include <fmt/format.h>

#include "base/version.h"
#include "cli/command.h"
#include "tensor/processor.h"

namespace eyrie::cli {

int run_version(int, char**) {
  fmt::print("eyrie {}\n", base::kVersion);
  fmt::print("compiler    {}\n", __VERSION__);
  fmt::print("{}", tensor::describe_processor());
  return 0;
}

}  // namespace eyrie::cli
