// eyrie version
#include <fmt/format.h>

#include "cli/command.h"
#include "tensor/processor.h"

#ifndef EYRIE_VERSION
#define EYRIE_VERSION "unknown"
#endif

namespace eyrie::cli {

int run_version(int, char**) {
  fmt::print("eyrie {}\n", EYRIE_VERSION);
  fmt::print("compiler    {}\n", __VERSION__);
  fmt::print("{}", tensor::describe_processor());
  return 0;
}

}  // namespace eyrie::cli
