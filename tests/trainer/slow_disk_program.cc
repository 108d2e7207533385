// A training run with two steps per checkpoint whose first rank has a slow disk. Arguments:
// RUN.yaml, and
//   slow SECONDS  syncing the first rank's shard takes so long, three times
//   fail SECONDS  the same, and the last rank fails while the first is in it
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <string>
#include <string_view>
#include <thread>

#include "base/error.h"
#include "base/file.h"
#include "parallel/communication/run_guarded.h"
#include "parallel/health/stop.h"
#include "trainer/trainer.h"

int main(int argc, char** argv) {
  using namespace eyrie;
  parallel::start_signal_thread();
  const auto world = parallel::open_world(argc, argv);
  const std::string file = argv[1], what = argv[2];
  const std::chrono::milliseconds syncing(static_cast<int>(1000 * std::atof(argv[3])));
  return parallel::run_guarded(*world, [&] {
    static std::atomic<int> syncs = 0;
    base::set_fault_hook([&](std::string_view operation, const base::Path& path) {
      if (operation == "sync" && path.string().find("shard-0000") != std::string::npos &&
          ++syncs <= 3)
        std::this_thread::sleep_for(syncing);
      return 0;
    });
    trainer::TrainOptions options;
    options.gain = [&](std::int64_t) {
      // Long steps: a save takes many of them.
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      static int batches = 0;
      if (++batches == 5 && what == "fail" && world->rank() == world->size() - 1)
        throw base::InputError("data/shards/web-0001.h5: the file is truncated");
      return 1.0;
    };
    const trainer::RunConfig run = trainer::read_run(file, {});
    trainer::train(run, *world, options, {});
    return base::kExitDone;
  });
}
