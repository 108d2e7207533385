// Runs another program and keeps what it printed.
#pragma once

#include <string>
#include <vector>

namespace eyrie::slurm {

struct ProgramResult {
  int status = 0;      // as a shell gives it: 128 + N for a signal
  bool found = true;   // false: there is no such program on the PATH
  std::string output;  // what it printed
  std::string errors;  // what it printed to stderr
};

// `arguments` begin with the program's name, which is looked for on the PATH; no shell reads them.
// Waits for its end. Throws Error if no process can be created.
ProgramResult run_program(const std::vector<std::string>& arguments);

}  // namespace eyrie::slurm
