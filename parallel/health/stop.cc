// The thread that takes signals, the flag that they set, and the ranks' vote on it.
#include "parallel/health/stop.h"

#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <mutex>
#include <thread>

namespace eyrie::parallel {
namespace {

std::atomic<int> requested{0};
std::atomic<bool> caught{false};
std::atomic<int> terminate_event{-1};
static_assert(std::atomic<int>::is_always_lock_free, "set by a signal handler");

// Created by start_signal_thread(), so that no signal handler creates it, and not before main(),
// where it could get the number of a closed standard stream.
int event() {
  static const int made = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  return made;
}

void notify(int descriptor, std::uint64_t count = 1) {
  const int saved = errno;
  (void)!::write(descriptor, &count, sizeof(count));
  errno = saved;
}

sigset_t stop_signals() {
  static const sigset_t signals = [] {
    sigset_t set;
    sigemptyset(&set);
    for (const int signal : {SIGTERM, SIGINT, SIGUSR1, SIGUSR2, SIGXCPU}) sigaddset(&set, signal);
    struct sigaction hangup = {};
    ::sigaction(SIGHUP, nullptr, &hangup);
    if (hangup.sa_handler != SIG_IGN) sigaddset(&set, SIGHUP);
    return set;
  }();
  return signals;
}

void arrived(int signal) {
  if (caught.load()) {
    // A second Ctrl-C: take the default action, which has its own exit status.
    if (signal == SIGINT && requested.load() == SIGINT) end_by_signal(signal);
    request_stop(signal);
  } else if (const int descriptor = terminate_event.load(); descriptor >= 0) {
    notify(descriptor, static_cast<std::uint64_t>(signal));
  } else {
    end_by_signal(signal);
  }
}

}  // namespace

void block_stop_signals() {
  const sigset_t signals = stop_signals();
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
}

void start_signal_thread() {
  block_stop_signals();
  static std::once_flag once;
  std::call_once(once, [] {
    event();
    std::thread([] {
      for (const sigset_t signals = stop_signals();;) {
        int signal = 0;
        if (::sigwait(&signals, &signal) == 0) arrived(signal);
      }
    }).detach();
    // For threads that already existed and do not block the signals: those of tests, and of
    // libraries that start threads while they are loaded. In the eyrie command this handler never
    // runs.
    struct sigaction action = {};
    action.sa_handler = arrived;
    action.sa_flags = SA_RESTART | SA_ONSTACK;
    const sigset_t signals = stop_signals();
    action.sa_mask = signals;
    for (int signal = 1; signal < SIGRTMIN; ++signal) {
      if (sigismember(&signals, signal) == 1) ::sigaction(signal, &action, nullptr);
    }
  });
}

void catch_stop_signals() {
  caught.store(true);
  start_signal_thread();
}

void restore_stop_signals() {
  caught.store(false);
  if (const int signal = requested.load(); signal != 0) end_by_signal(signal);
}

void request_stop(int signal) {
  requested.store(signal);
  notify(event());
}
int stop_signal() { return requested.load(); }
int stop_event() { return event(); }

void clear_stop() {
  requested.store(0);
  std::uint64_t count = 0;
  (void)!::read(event(), &count, sizeof(count));
}

void end_by_signal(int signal) {
  ::signal(signal, SIG_DFL);
  sigset_t one;
  sigemptyset(&one);
  sigaddset(&one, signal);
  ::pthread_sigmask(SIG_UNBLOCK, &one, nullptr);
  ::raise(signal);
}

void set_terminate_event(int descriptor) { terminate_event.store(descriptor); }

bool stop_requested_anywhere(Communicator& communicator) {
  return communicator.any(stop_requested());
}

}  // namespace eyrie::parallel
