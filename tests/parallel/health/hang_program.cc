// A job for the tests of the watch against hangs: PROGRAM WHAT LIMIT. Rank 0 prints the processes'
// numbers and "ready"; then the ranks work in steps until something happens, which WHAT says:
//   steps     barriers of the world; the test stops ranks
//   axis      reduce_scatter on the axis 'data' (even and odd ranks apart); the test stops ranks
//   slow      every rank in turn computes for two thirds of LIMIT, the others wait; then the end
//   busy      rank 1 computes without end in step 3, the others wait
//   crossed   rank 0 waits for the axis, the others for the world
//   message   rank 0 waits for a message that rank 1 never sends
//   differ    rank 1 calls all_gather where the others call barrier
//   sizes     rank 1 reduces two values where the others reduce one
//   agree     rank 1 fails in step 300, and all agree to end
//   finish    a few steps, then the end
//   long      a thousand steps, then the end
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include <fmt/format.h>

#include "base/error.h"
#include "parallel/communication/exchange.h"
#include "parallel/communication/run_guarded.h"
#include "parallel/health/peer_monitor.h"
#include "support/tree_reduce_scatter.h"

namespace eyrie::parallel {
namespace {

using namespace std::chrono_literals;

void say(const std::string& line) {
  std::fputs((line + "\n").c_str(), stdout);
  std::fflush(stdout);
}

void differ(Communicator& world, const std::string& what) {
  if (what == "differ") {
    if (world.rank() == 1)
      world.all_gather("x");
    else
      world.barrier();
  }
  if (what == "sizes") {
    std::array<std::int64_t, 2> values = {1, 1};
    world.all_reduce(std::span(values).first(world.rank() == 1 ? 2 : 1), Reduce::kSum);
  }
}

int work(Communicator& world, const std::string& what, double limit) {
  PeerMonitor watch(world, limit);
  watch.set_advice("Start the same command again.");
  const auto pids = world.all_gather(std::to_string(::getpid()));
  const auto axis = world.split(world.rank() % 2, world.rank(), "data");
  std::vector<float> buffer(10000, 1.0f);
  ExchangeSpace workspace;
  std::vector<std::int64_t> cuts;
  for (int rank = 0; rank <= axis->size(); ++rank) cuts.push_back(10000 * rank / axis->size());
  const int steps = what == "finish" ? 20
                    : what == "long" ? 1000
                    : what == "slow" ? world.size()
                                     : 1000000;
  for (int step = 0; step < steps; ++step) {
    watch.set_doing(fmt::format("step {}", step));
    if (step == 3 && world.rank() == 0) {
      for (int rank = 0; rank < world.size(); ++rank)
        say(fmt::format("pid {} {}", rank, pids[rank]));
      say("ready");
    }
    if (what == "slow" && world.rank() == step)
      std::this_thread::sleep_for(std::chrono::duration<double>(limit * 2 / 3));
    if (step == 3) {
      differ(world, what);
      if (what == "busy" && world.rank() == 1) std::this_thread::sleep_for(60s);
      if (what == "crossed" && world.rank() == 0) axis->barrier();
      if (what == "message" && world.rank() == 0)
        world.receive(std::as_writable_bytes(std::span(buffer)), 1, 0)->wait();
    }
    if (step == 300 && what == "agree") {
      agree(world, [&] {
        if (world.rank() == 1) throw base::InputError("web-0001.h5: the file is truncated");
      });
    }
    if (what == "axis") {
      test::reduce_scatter(*axis, tensor::host_row(buffer), cuts,
                           MicroShardPlan(axis->size(), axis->size()), workspace);
    } else {
      world.barrier();
    }
    std::this_thread::sleep_for(1ms);
  }
  watch.finish();
  if (world.rank() == 0) say("finished");
  return base::kExitDone;
}

}  // namespace
}  // namespace eyrie::parallel

int main(int argc, char** argv) {
  using namespace eyrie;
  const auto world = parallel::open_world(argc, argv);
  return parallel::run_guarded(*world,
                               [&] { return parallel::work(*world, argv[1], std::atof(argv[2])); });
}
