// The flag that signals set, and the vote on it.
#include "parallel/stop.h"

#include <signal.h>

#include <array>
#include <atomic>

namespace eyrie::parallel {
namespace {

std::atomic<int> requested{0};
static_assert(std::atomic<int>::is_always_lock_free, "set by a signal handler");

void on_signal(int signal) {
  // The user pressed twice: the default action, with its own exit status.
  if (signal == SIGINT && requested.load() == SIGINT) {
    ::signal(SIGINT, SIG_DFL);
    ::raise(SIGINT);
    return;
  }
  requested.store(signal);
}

}  // namespace

void catch_stop_signals(bool cut_calls) {
  struct sigaction action = {};
  action.sa_handler = on_signal;
  action.sa_flags = cut_calls ? 0 : SA_RESTART;
  sigemptyset(&action.sa_mask);
  for (const int signal : {SIGTERM, SIGUSR1, SIGINT}) ::sigaction(signal, &action, nullptr);
}

void request_stop(int signal) { requested.store(signal); }
int stop_signal() { return requested.load(); }
void clear_stop() { requested.store(0); }

bool stop_requested_anywhere(Communicator& communicator) {
  std::array<std::int64_t, 1> any = {stop_requested() ? 1 : 0};
  communicator.all_reduce(any, Reduce::kMax);
  return any[0] != 0;
}

}  // namespace eyrie::parallel
