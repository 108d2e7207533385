// Saves one checkpoint after the other behind its back, on 2 ranks, until it is killed. Every value
// of step N's checkpoint is N. Argument: the run's folder.
#include <fmt/format.h>

#include <cstdio>
#include <exception>
#include <vector>

#include "base/error.h"
#include "checkpoint/list.h"
#include "checkpoint/retention.h"
#include "checkpoint/writer.h"

int main(int argc, char** argv) {
  using namespace eyrie;
  if (argc != 2) {
    fmt::print(stderr, "usage: checkpoint_writer_program RUN\n");
    return base::kExitInput;
  }
  const base::Path run = argv[1];
  try {
    std::int64_t first = 1;
    for (const auto& info : checkpoint::list_checkpoints(run / "checkpoints"))
      first = info.step + 1;
    parallel::run_in_process(2, [&](parallel::Communicator& ranks) {
      constexpr std::int64_t kHalf = 50'000;
      std::vector<float> values(kHalf);
      checkpoint::CheckpointWriter writer(ranks);
      for (std::int64_t step = first;; ++step) {
        values.assign(values.size(), static_cast<float>(step));
        const checkpoint::TensorPiece piece[] = {
            {"w", {2 * kHalf}, {0}, {2 * kHalf}, ranks.rank() * kHalf, kHalf, values.data()}};
        writer.begin(checkpoint::checkpoint_path(run, step), piece, step, "{}", [&] {
          if (ranks.rank() == 0) checkpoint::prune_checkpoints(run, {2, 0, 0});
        });
        values.assign(values.size(), -1);  // as the training goes on
        writer.poll();
      }
    });
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
  }
  return base::kExitFailure;  // it does not end by itself
}
