// Watches the other ranks' processes: one thread sleeps in poll() on their pidfds, which become
// readable the moment a process ends. The shared page of the host (host_status.h) makes sure that
// an end is reported once and that a failing rank's own message stays the last.
#include "parallel/health/peer_monitor.h"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "base/crash.h"
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/shown.h"
#include "parallel/communication/run_guarded.h"
#include "parallel/health/hang_watch.h"
#include "parallel/health/host_status.h"
#include "parallel/health/stop.h"

namespace eyrie::parallel {
namespace {

using namespace std::chrono_literals;

struct Peer {
  int rank;
  pid_t pid;
  std::string host;
  int pidfd;  // -1: the kernel does not support pidfds
};

int open_pidfd(pid_t pid) { return static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)); }

}  // namespace

struct PeerMonitor::State {
  Communicator* world = nullptr;  // used by open() and finish()
  int rank = 0;
  std::vector<Peer> peers;  // other processes on this host
  bool processes = false;   // each rank is a process of its own
  std::unique_ptr<HangWatch> hang_watch;
  HostStatus page;
  int stop_event = -1;       // signalled by stop()
  int terminate_event = -1;  // signalled when a signal that nothing else handles arrives
  std::atomic<bool> peer_gone = false;
  std::thread thread;
  int exceptions_at_start = std::uncaught_exceptions();
  bool finished = false;

  std::mutex mutex;  // guards doing and advice
  std::string doing = "the start of the job";
  std::string advice = "Start the job again.";

  ~State();
  void open();
  void start();
  void stop();
  void watch();
  void look_at(const Peer& peer, pollfd& file, bool terminating);
  void before_failing();
  [[noreturn]] void end_after(const Peer& peer, const std::string& why);
  [[noreturn]] void end_hang(const std::string& hang);
  [[noreturn]] void end_with(const std::string& what);
  [[noreturn]] void end_after_its_message();
};

PeerMonitor::State::~State() {
  for (const Peer& peer : peers) {
    if (peer.pidfd >= 0) ::close(peer.pidfd);
  }
  if (stop_event >= 0) ::close(stop_event);
  if (terminate_event >= 0) ::close(terminate_event);
}

// Finds the ranks of this host. The pidfds are opened while all ranks are certainly alive: none
// passes the page's barrier earlier.
void PeerMonitor::State::open() {
  rank = world->rank();
  const std::string key = host_key();
  const std::vector<std::string> all = world->all_gather(fmt::format("{} {}", ::getpid(), key));
  processes = world->size() > 1 && std::count(all.begin(), all.end(), all[rank]) == 1;
  for (int other = 0; other < world->size(); ++other) {
    const std::size_t blank = all[other].find(' ');
    const pid_t pid = static_cast<pid_t>(std::stol(all[other].substr(0, blank)));
    if (all[other].substr(blank + 1) != key || pid == ::getpid()) continue;
    peers.push_back({other, pid, base::host_name(), open_pidfd(pid)});
  }
  page.open(*world, peers.empty() ? -1 : peers.front().rank);
}

void PeerMonitor::State::start() {
  stop_event = ::eventfd(0, EFD_CLOEXEC);
  terminate_event = ::eventfd(0, EFD_CLOEXEC);
  start_signal_thread();
  set_terminate_event(terminate_event);
  thread = std::thread([this] {
    base::set_rank(rank);
    base::use_signal_stack();
    try {
      watch();
    } catch (const std::exception& error) {
      base::log_warning(fmt::format("the watch over the other ranks has ended: {}", error.what()));
    }
  });
}

void PeerMonitor::State::stop() {
  if (!thread.joinable()) return;
  const std::uint64_t one = 1;
  (void)!::write(stop_event, &one, sizeof(one));
  thread.join();
  set_terminate_event(-1);
}

void PeerMonitor::State::watch() {
  std::vector<pollfd> files;
  int timeout_ms = -1;
  for (const Peer& peer : peers) {
    files.push_back({peer.pidfd, POLLIN, 0});
    if (peer.pidfd < 0) timeout_ms = 100;  // without pidfds: poll the process ids
  }
  files.push_back({terminate_event, POLLIN, 0});
  files.push_back({stop_event, POLLIN, 0});
  pollfd &terminate = files[peers.size()], &stop = files[peers.size() + 1];
  bool terminating = false;
  int signal = SIGTERM;  // the signal that this process will end by
  for (;;) {
    const int ready = ::poll(files.data(), files.size(), terminating ? 500 : timeout_ms);
    if (ready < 0) {
      if (errno == EINTR) continue;
      return;
    }
    for (std::size_t i = 0; i < peers.size(); ++i) look_at(peers[i], files[i], terminating);
    if (terminating && ready == 0) {  // no rank has died: the signal was meant for us
      page.note_leaving(kTerminated);
      end_by_signal(signal);
    }
    if (terminate.revents != 0) {
      std::uint64_t number = 0;
      if (::read(terminate_event, &number, sizeof(number)) == sizeof(number) && number < 64)
        signal = static_cast<int>(number);
      terminating = true;
      terminate.fd = -1;
    }
    if (stop.revents != 0) return;
  }
}

void PeerMonitor::State::look_at(const Peer& peer, pollfd& file, bool terminating) {
  const bool ended = peer.pidfd >= 0 ? file.fd >= 0 && file.revents != 0
                                     : ::kill(peer.pid, 0) != 0 && errno == ESRCH;
  if (!ended) return;
  const Leaving how = page.leaving(peer.rank);
  if (how == kFinished || (how == kTerminated && terminating)) {
    file.fd = -1;  // poll() skips it from now on
    return;
  }
  end_after(peer, how == kTerminated
                      ? "ended by a signal"
                      : "killed, out of memory or crashed (its own last words, if any, are above)");
}

// An error is about to be this rank's last message. Does it only follow from another rank's death?
void PeerMonitor::State::before_failing() {
  if (peers.empty()) return;
  std::vector<pollfd> files;
  for (const Peer& peer : peers) {
    if (page.leaving(peer.rank) != kFinished) files.push_back({peer.pidfd, POLLIN, 0});
  }
  // Connections may break shortly before or after the process is gone.
  const bool gone = ::poll(files.data(), files.size(), 300) > 0 || peer_gone.load();
  if (gone) std::this_thread::sleep_for(10s);  // meanwhile the thread reports and ends the process
  page.note_leaving(kFailing);
}

void PeerMonitor::State::end_after(const Peer& peer, const std::string& why) {
  peer_gone.store(true);
  if (page.leaving(peer.rank) == kFailing) end_after_its_message();
  const std::string where = peer.pid > 0 ? fmt::format(" (pid {} on {})", peer.pid, peer.host) : "";
  end_with(fmt::format("rank {}{} is gone: {}", peer.rank, where, why));
}

void PeerMonitor::State::end_hang(const std::string& hang) {
  for (const Peer& peer : peers) {
    if (page.leaving(peer.rank) == kFailing) end_after_its_message();
  }
  end_with(hang);
}

// A rank has printed why it fails and aborts the job. If nothing ends this rank within five
// seconds, it ends the job itself.
void PeerMonitor::State::end_after_its_message() {
  std::this_thread::sleep_for(5s);
  end_all_ranks(base::kExitFailure);
}

void PeerMonitor::State::end_with(const std::string& what) {
  if (page.first_to_report()) {
    std::string line;
    {
      std::lock_guard lock(mutex);
      line = base::shown_lines(fmt::format("rank {}: {}; in {}. {}\n", rank, what, doing, advice));
    }
    // Straight to the descriptor: another thread may hold the streams' locks forever.
    (void)!::write(STDERR_FILENO, line.data(), line.size());
    std::this_thread::sleep_for(200ms);  // let the line reach the launcher first
    std::thread(end_all_ranks, base::kExitFailure).detach();
  }
  std::this_thread::sleep_for(1s);
  ::_exit(base::kExitFailure);
}

PeerMonitor::PeerMonitor(Communicator& world, double hang_limit)
    : state_(std::make_shared<State>()) {
  state_->world = &world;
  state_->open();
  if (hang_limit > 0 && state_->processes) {
    state_->hang_watch = std::make_unique<HangWatch>(
        world, hang_limit,
        [state = state_.get()](const std::string& hang) { state->end_hang(hang); });
  }
  if (state_->peers.empty()) return;
  state_->start();
  world.job().set_before_abort([state = state_] { state->before_failing(); });
}

PeerMonitor::~PeerMonitor() {
  if (!state_->finished) {
    if (std::uncaught_exceptions() > state_->exceptions_at_start) state_->before_failing();
    state_->page.note_leaving(kFailing);
  }
  state_->hang_watch.reset();
  if (!state_->peers.empty()) state_->world->job().set_before_abort({});
  state_->stop();
}

void PeerMonitor::set_doing(const std::string& doing) {
  std::lock_guard lock(state_->mutex);
  state_->doing = doing;
}

void PeerMonitor::set_advice(const std::string& advice) {
  std::lock_guard lock(state_->mutex);
  state_->advice = advice;
}

void PeerMonitor::finish() {
  // Past the barrier every rank is done. A rank may exit once it has noted so in the page.
  state_->world->barrier();
  if (state_->hang_watch != nullptr) state_->hang_watch->finish();
  state_->page.note_leaving(kFinished);
  state_->finished = true;
}

void PeerMonitor::report_gone(int rank, const std::string& why) {
  for (const Peer& peer : state_->peers) {
    if (peer.rank == rank) state_->end_after(peer, why);
  }
  state_->end_after({rank, 0, "", -1}, why);
}

}  // namespace eyrie::parallel
