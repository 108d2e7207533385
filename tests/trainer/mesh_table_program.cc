// Prints, for every mesh of up to 8 ranks, how far 20 steps of a tiny Griffin are from one rank's:
//   mesh_table_program [A|B …]
// Status 1 if a loss is off by more than 1e-5 (relative) or a gradient by more than 2e-5 of its
// tensor's largest value.
#include <cstdio>

#include "support/mesh_run.h"

int main(int argc, char** argv) {
  using namespace eyrie;
  const test::TinyRun data;
  int far = 0;
  std::string which = argc > 1 ? "" : "AB";
  for (int i = 1; i < argc; ++i) which += argv[i];
  for (const char model : which) {
    const test::MeshProblem problem{.which = model};
    const test::MeshResult one = test::run_mesh(data, problem, {});
    std::printf("model %c: loss %.6f to %.6f in %zu steps on one rank\n", model, one.losses.front(),
                one.losses.back(), one.losses.size());
    std::printf("%-58s %10s %10s  %s\n", "mesh", "loss", "gradient", "of");
    for (const parallel::MeshShape& shape : test::all_meshes(model, 8)) {
      const test::MeshDifference off = difference(test::run_mesh(data, problem, shape), one);
      const bool bad = off.loss > 1e-5 || off.gradient > 2e-5;
      far += bad ? 1 : 0;
      std::printf("%-58s %10.1e %10.1e  %s%s\n", parallel::describe(shape).c_str(), off.loss,
                  off.gradient, off.tensor.c_str(), bad ? "  TOO FAR" : "");
      std::fflush(stdout);
    }
  }
  std::printf("%d too far\n", far);
  return far == 0 ? 0 : 1;
}
