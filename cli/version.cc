// eyrie version
#include <fmt/format.h>

#include "base/output.h"
#include "base/version.h"
#include "cli/command.h"
#include "tensor/processor.h"

namespace eyrie::cli {

int run_version(int, char**) {
  base::print("eyrie {}\n", base::kVersion);
  base::print("compiler    {}\n", __VERSION__);
  base::print("{}", tensor::describe_processor());
  return 0;
}

}  // namespace eyrie::cli
