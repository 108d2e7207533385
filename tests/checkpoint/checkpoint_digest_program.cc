// Prints a line for each tensor of a checkpoint: name, shape, and a hash of its elements. Equal for
// equal states, whatever ranks wrote them. Argument: the checkpoint's folder.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstdio>
#include <exception>
#include <vector>

#include "base/error.h"
#include "base/hash.h"
#include "checkpoint/reader.h"

int main(int argc, char** argv) {
  using namespace eyrie;
  if (argc != 2) {
    fmt::print(stderr, "usage: checkpoint_digest_program CHECKPOINT\n");
    return base::kExitInput;
  }
  try {
    const checkpoint::CheckpointReader reader(argv[1]);
    for (const std::string& name : reader.names()) {
      if (reader.type(name) != checkpoint::PieceType::kFloat32)
        throw base::Error(name + " is no float32 tensor, as a training run's all are");
      std::size_t count = 1;
      for (const std::int64_t axis : reader.shape(name)) count *= static_cast<std::size_t>(axis);
      std::vector<float> values(count);
      reader.read_all(name, values.data());
      fmt::print("{} {} {}\n", name, reader.shape(name),
                 base::hex(base::hash_bytes(std::as_bytes(std::span<const float>(values)))));
    }
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return base::kExitFailure;
  }
  return 0;
}
