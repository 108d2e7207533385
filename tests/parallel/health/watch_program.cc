// A job for the tests of watch, stop and guard: rank 0 prints the processes' numbers and "ready",
// then all ranks work in steps until something happens. What happens is the first argument:
//   wait       nothing; the test sends signals. SIGTERM, SIGUSR1, SIGINT stop all ranks with status
//   75 deaf       the same, but no signal is caught compute    rank 0 computes alone in step 3 and
//   exchanges nothing; the others wait for it throw      rank 1 throws an InputError in step 3,
//   with an exchange under way agree      rank 1 throws it inside of agree() crash      rank 1
//   writes through a null pointer in step 3 finish     three steps, then the end
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <thread>

#include <fmt/format.h>

#include "base/crash.h"
#include "base/error.h"
#include "parallel/communication/exchange.h"
#include "parallel/communication/exchange_queue.h"
#include "parallel/communication/run_guarded.h"
#include "parallel/health/peer_monitor.h"
#include "parallel/health/stop.h"

namespace eyrie::parallel {
namespace {

using namespace std::chrono_literals;

void say(const std::string& line) {
  std::fputs((line + "\n").c_str(), stdout);
  std::fflush(stdout);
}

int work(Communicator& world, const std::string& what) {
  PeerMonitor watch(world);
  watch.set_advice("Start the same command again: it goes on from step-00000002.");
  if (what != "deaf") catch_stop_signals();
  const auto pids = world.all_gather(std::to_string(::getpid()));
  if (world.rank() == 0) {
    for (int rank = 0; rank < world.size(); ++rank) say(fmt::format("pid {} {}", rank, pids[rank]));
  }
  std::vector<float> buffer(100000, 1.0f);
  std::vector<std::int64_t> cuts;
  for (int rank = 0; rank <= world.size(); ++rank) cuts.push_back(100000 * rank / world.size());
  ExchangeQueue queue({&world});
  const int steps = what == "finish" ? 3 : 10000;
  for (int step = 0; step < steps; ++step) {
    watch.set_doing(fmt::format("step {}", step));
    if (stop_requested_anywhere(world)) {
      if (world.rank() == 0) say("stopping");
      watch.finish();
      return base::kExitStopped;
    }
    if (step == 3 && world.rank() == 0) say("ready");
    if (step == 3 && what == "compute" && world.rank() == 0) std::this_thread::sleep_for(60s);
    queue.post([&] { return all_gather(queue.communicator(0), tensor::host_row(buffer), cuts); });
    if (step == 3 && world.rank() == 1) {
      if (what == "throw") throw base::InputError("data/shards/web-0001.h5: the file is truncated");
      if (what == "crash") *static_cast<volatile int*>(nullptr) = 1;
    }
    if (step == 3 && what == "agree") {
      agree(world, [&] {
        if (world.rank() == 1)
          throw base::InputError("data/shards/web-0001.h5: the file is truncated");
      });
    }
    queue.wait_all();
    std::this_thread::sleep_for(10ms);
  }
  watch.finish();
  if (world.rank() == 0) say("finished");
  return base::kExitDone;
}

}  // namespace
}  // namespace eyrie::parallel

int main(int argc, char** argv) {
  using namespace eyrie;
  parallel::start_signal_thread();
  base::report_crashes();
  const auto world = parallel::open_world(argc, argv);
  return parallel::run_guarded(*world, [&] { return parallel::work(*world, argv[1]); });
}
