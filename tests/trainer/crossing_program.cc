// Every mesh's checkpoint continued on every other one, and on its own: prints one line per pair.
// Status 1 where five steps differ from the writer's own continuation by more than 1e-5 (losses
// relatively, parameters and moments of their tensor's largest value), or at all on the same mesh.
#include <cstdio>

#include "support/crossing.h"

int main() {
  using namespace eyrie;
  const test::TinyRun data;
  int number = 0, far = 0;
  std::printf("%-62s %-62s %9s %9s\n", "written on", "continued on", "loss", "tensors");
  for (const auto& writer : test::crossing_meshes()) {
    for (const auto& reader : test::crossing_meshes()) {
      const bool same = describe(writer) == describe(reader);
      const auto off = test::cross(data, fmt::format("pair{}", number++), writer, reader);
      const bool bad = same ? !off.same_bits : off.loss > 1e-5 || off.tensors > 1e-5;
      far += bad ? 1 : 0;
      std::printf("%-62s %-62s %9.1e %9.1e%s%s\n", describe(writer).c_str(),
                  describe(reader).c_str(), off.loss, off.tensors,
                  off.same_bits ? "  same bits" : "", bad ? "  TOO FAR" : "");
      std::fflush(stdout);
    }
  }
  std::printf("%d pairs, %d too far\n", number, far);
  return far == 0 ? 0 : 1;
}
