// Marks of owners: created by link(), which is exclusive on network file systems too and makes a
// mark appear whole. Afterwards only the counter is written, through a descriptor whose content was
// checked first.
#include "base/owner.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <charconv>
#include <condition_variable>
#include <cstdlib>
#include <ctime>
#include <map>
#include <mutex>
#include <sstream>
#include <thread>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include "base/error.h"
#include "base/hash.h"
#include "base/listing.h"
#include "base/log.h"
#include "base/process_name.h"

namespace eyrie::base {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr std::string_view kPrefix = ".owner-";
constexpr std::size_t kDigits = 20;
constexpr std::string_view kCount = "count: ";  // the first line of a mark
constexpr milliseconds kPoll{200};
// How long the other ranks of a job take to notice that one is gone, and end.
constexpr milliseconds kRanksEnd{20000};
constexpr milliseconds kSeen{10000};  // for other ranks to see the mark, on a slow file system

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

struct Mark {
  std::uint64_t count = 0;
  std::string nonce, cluster, job, since;
  std::int64_t restart = 0, machines = 1;
  std::vector<ProcessName> processes;  // those on the owner's machine, the owner first
};

std::string text_of(const Mark& mark) {
  std::string text =
      fmt::format("{}{:0{}}\nnonce: {}\nsince: {}\ncluster: {}\njob: {}\n", kCount, mark.count,
                  kDigits, mark.nonce, mark.since, mark.cluster, mark.job);
  text += fmt::format("restart: {}\nmachines: {}\n", mark.restart, mark.machines);
  for (const ProcessName& process : mark.processes)
    text += fmt::format("process: {}\n", to_line(process));
  return text;
}

Mark mark_from(const std::string& text) {
  Mark mark;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const std::size_t colon = line.find(": ");
    if (colon == std::string::npos) continue;
    const std::string key = line.substr(0, colon), value = line.substr(colon + 2);
    const auto number = [&](auto& out) {
      std::from_chars(value.data(), value.data() + value.size(), out);
    };
    if (key == "count") number(mark.count);
    if (key == "nonce") mark.nonce = value;
    if (key == "since") mark.since = value;
    if (key == "cluster") mark.cluster = value;
    if (key == "job") mark.job = value;
    if (key == "restart") number(mark.restart);
    if (key == "machines") number(mark.machines);
    if (key == "process") mark.processes.push_back(process_from_line(value));
  }
  return mark;
}

std::string describe(const Mark& mark) {
  if (mark.processes.empty()) return "a process that is just beginning";
  return fmt::format("process {} on {}{}, since {}", mark.processes[0].pid, mark.processes[0].host,
                     mark.job.empty() ? "" : " (Slurm job " + mark.job + ")", mark.since);
}

// The folder's marks by number.
std::map<std::int64_t, Path> marks_in(const Path& folder) {
  std::map<std::int64_t, Path> marks;
  for (const Path& path : list_folder(folder)) {
    const std::string name = path.filename().string();
    if (!name.starts_with(kPrefix)) continue;
    std::int64_t number = 0;
    const auto [end, error] =
        std::from_chars(name.data() + kPrefix.size(), name.data() + name.size(), number);
    if (error == std::errc() && end == name.data() + name.size()) marks.emplace(number, path);
  }
  return marks;
}

Path path_of(const Path& folder, std::int64_t number) {
  return folder / fmt::format("{}{}", kPrefix, number);
}

// Opened anew each time, which makes a network file system look again.
std::optional<Mark> read_mark(const Path& path) {
  try {
    return mark_from(read_file(path));
  } catch (const InputError&) {
    if (!is_there(path)) return std::nullopt;  // removed meanwhile
    throw;
  }
}

std::string random_name() {
  std::uint64_t number[2] = {};
  if (::getrandom(number, sizeof number, 0) != sizeof number)
    throw Error("the system gives no random numbers (getrandom)");
  return hex(number[0]) + hex(number[1]);
}

Mark own_mark(const OwnerOptions& options) {
  Mark mark;
  mark.nonce = random_name();
  mark.since = fmt::format("{:%Y-%m-%d %H:%M:%S}", fmt::localtime(std::time(nullptr)));
  mark.cluster = environment("SLURM_CLUSTER_NAME");
  mark.job = environment("SLURM_JOB_ID");
  mark.restart = std::atoll(environment("SLURM_RESTART_COUNT").c_str());
  const ProcessName own = this_process();
  mark.processes = {own};
  std::map<std::string, int> machines = {{own.machine, 1}};
  for (const std::string& line : options.processes) {
    const ProcessName process = process_from_line(line);
    ++machines[process.machine];
    if (process.machine == own.machine && process != own) mark.processes.push_back(process);
  }
  mark.machines = static_cast<std::int64_t>(machines.size());
  return mark;
}

[[noreturn]] void fail(const Path& path, int error) {
  throw Error(fmt::format("making {} failed: {}; every job marks the folder that it writes to",
                          path.string(), std::generic_category().message(error)));
}

// Returns whether the mark was created; false if another job has that number.
bool make_mark(const Path& path, const Mark& mark) {
  const std::string text = text_of(mark);
  const Path unfinished = path.parent_path() / fmt::format("{}{}.new", kPrefix, mark.nonce);
  const auto write_new = [&](const Path& to) {
    const int descriptor =
        ::open(to.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (descriptor < 0) return errno;
    int error = ::write(descriptor, text.data(), text.size()) == std::ssize(text) ? 0 : EIO;
    if (error == 0 && ::fsync(descriptor) != 0) error = errno;
    if (::close(descriptor) != 0 && error == 0) error = errno;
    if (error != 0) ::unlink(to.c_str());
    return error;
  };
  if (const int error = write_new(unfinished); error != 0) fail(unfinished, error);
  int error = ::link(unfinished.c_str(), path.c_str()) == 0 ? 0 : errno;
  struct stat status {};
  // A network file system may have created it and lost the reply.
  if (error != 0 && ::stat(unfinished.c_str(), &status) == 0 && status.st_nlink == 2) error = 0;
  ::unlink(unfinished.c_str());
  if (error == 0) return true;
  if (error == EEXIST) return false;
  if (error != EPERM && error != EOPNOTSUPP && error != ENOSYS && error != EMLINK)
    fail(path, error);
  error = write_new(path);  // a file system without hard links
  if (error != 0 && error != EEXIST) fail(path, error);
  return error == 0;
}

// Waits until `gone` returns true. Returns false if it does not within the limit.
template <class Gone>
bool wait_for(milliseconds limit, Gone gone) {
  const auto end = Clock::now() + limit;
  while (!gone()) {
    if (Clock::now() >= end) return false;
    std::this_thread::sleep_for(std::min(kPoll, limit));
  }
  return true;
}

enum class Finding { kLives, kGone, kChanged };

// Finds out what it can about a mark's owner. kChanged: the mark is no longer there.
Finding look_at(const Path& folder, const Path& path, const Mark& mark, const OwnerOptions& mine,
                std::string& why) {
  const std::string job = environment("SLURM_JOB_ID");
  if (!job.empty() && job == mark.job && environment("SLURM_CLUSTER_NAME") == mark.cluster &&
      std::atoll(environment("SLURM_RESTART_COUNT").c_str()) > mark.restart) {
    why = "which Slurm has put back into the queue since";
    return Finding::kGone;
  }
  if (!mark.processes.empty() && on_this_machine(mark.processes[0])) {
    if (is_alive(mark.processes[0])) return Finding::kLives;
    why = "which is gone";
    const auto all_gone = [&] {
      for (const ProcessName& process : mark.processes)
        if (is_alive(process)) return false;
      return true;
    };
    if (!wait_for(kRanksEnd, all_gone)) return Finding::kLives;
    // Those on other machines cannot be seen from here.
    if (mark.machines > 1) std::this_thread::sleep_for(kRanksEnd / 2);
    return Finding::kGone;
  }
  log_info(fmt::format("{}: marked by {}; waiting up to {:.0f} s for a sign of it", folder.string(),
                       describe(mark), static_cast<double>(mine.patience.count()) / 1000));
  Finding finding = Finding::kGone;
  const bool moved = wait_for(mine.patience, [&] {
    const auto now = read_mark(path);
    if (!now || now->nonce != mark.nonce) finding = Finding::kChanged;
    if (now && now->count != mark.count) finding = Finding::kLives;
    return finding != Finding::kGone;
  });
  if (!moved)
    why = fmt::format("which has given no sign for {:.0f} s",
                      static_cast<double>(mine.patience.count()) / 1000);
  return finding;
}

// Returns who has taken over the folder; "" if the mark is still its owner's.
std::string lost_to(const Path& folder, std::int64_t number, const std::string& nonce) {
  const auto marks = marks_in(folder);
  if (!marks.empty() && marks.rbegin()->first > number) {
    const auto other = read_mark(marks.rbegin()->second);
    return other ? describe(*other) : "another process";
  }
  const auto own = read_mark(path_of(folder, number));
  if (!own) return "another process, which has ended";
  return own->nonce == nonce ? "" : describe(*own);
}

std::pair<std::int64_t, std::string> parts_of(const std::string& mark) {
  std::istringstream fields(mark);
  std::pair<std::int64_t, std::string> parts;
  fields >> parts.first >> parts.second;
  return parts;
}

[[noreturn]] void throw_lost(const Path& folder, const std::string& to) {
  throw Error(fmt::format(
      "{} was taken over by {}, while this job was suspended or cut off from the file system; "
      "nothing more is written there by this job",
      folder.string(), to));
}

}  // namespace

struct FolderOwner::State {
  Path folder;
  std::string nonce, mark;
  std::int64_t number = 0;
  milliseconds beat{};
  bool made_folder = false;

  std::mutex mutex;  // guards everything below
  std::condition_variable changed;
  bool stop = false, ended = false;
  std::string lost;  // who has taken over

  // Increments the counter. File system errors are ignored: check() is called before anything is
  // committed.
  void count_up() {
    try {
      const std::string to = lost_to(folder, number, nonce);
      if (!to.empty()) {
        const std::lock_guard lock(mutex);
        lost = to;
        return;
      }
      File file = File::modify(path_of(folder, number));
      std::string rest(static_cast<std::size_t>(file.size()), '\0');
      file.read_at(std::as_writable_bytes(std::span(rest)), 0);
      Mark mark = mark_from(rest);
      if (mark.nonce != nonce) return;
      const std::string digits = fmt::format("{:0{}}", mark.count + 1, kDigits);
      // Not through File: this write is not one of the job's operations.
      if (::pwrite(file.descriptor(), digits.data(), digits.size(), kCount.size()) ==
          std::ssize(digits))
        ::fsync(file.descriptor());
    } catch (const std::exception&) {
    }
  }

  void run() {
    std::unique_lock lock(mutex);
    while (!stop && lost.empty()) {
      changed.wait_for(lock, beat, [this] { return stop; });
      if (stop) break;
      lock.unlock();
      count_up();
      lock.lock();
    }
    ended = true;
    changed.notify_all();
  }
};

FolderOwner::FolderOwner(const Path& folder, OwnerOptions options)
    : state_(std::make_shared<State>()) {
  State& state = *state_;
  state.folder = folder;
  state.beat = options.beat;
  state.made_folder = !is_there(folder);
  make_directories(folder);
  const Mark mine = own_mark(options);
  std::string taken;  // for the log
  while (true) {
    const auto marks = marks_in(folder);
    std::int64_t number = 1;
    if (!marks.empty()) {
      const Path& path = marks.rbegin()->second;
      const auto theirs = read_mark(path);
      if (!theirs) continue;
      std::string why;
      const Finding finding = look_at(folder, path, *theirs, options, why);
      if (finding == Finding::kChanged) continue;
      if (finding == Finding::kLives)
        throw InputError(fmt::format(
            "{}: another job is at work on {}: {}. Wait for its end, or "
            "end it{}{} (its mark is {})",
            folder.string(), options.what, describe(*theirs), options.instead.empty() ? "" : "; ",
            options.instead, path.filename().string()));
      taken = fmt::format("{}: taken over from {}, {}", folder.string(), describe(*theirs), why);
      number = marks.rbegin()->first + 1;
    }
    if (!make_mark(path_of(folder, number), mine)) continue;
    const auto now = marks_in(folder);
    if (now.rbegin()->first > number) {  // another job took over while this one was delayed
      ::unlink(path_of(folder, number).c_str());
      continue;
    }
    state.number = number;
    for (const auto& [older, path] : now)
      if (older < number) ::unlink(path.c_str());
    break;
  }
  if (!taken.empty()) log_info(taken);
  state.nonce = mine.nonce;
  state.mark = fmt::format("{} {}", state.number, state.nonce);
  // Signals are left to the other threads.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread([shared = state_] { shared->run(); }).detach();
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

FolderOwner::~FolderOwner() {
  State& state = *state_;
  {
    std::unique_lock lock(state.mutex);
    state.stop = true;
    state.changed.notify_all();
    // A thread that hangs in an unavailable file system is left behind.
    state.changed.wait_for(lock, std::chrono::seconds(2), [&] { return state.ended; });
    if (!state.lost.empty()) return;
  }
  try {
    if (!lost_to(state.folder, state.number, state.nonce).empty()) return;
    ::unlink(path_of(state.folder, state.number).c_str());
    if (state.made_folder) ::rmdir(state.folder.c_str());  // only succeeds if it is empty
  } catch (const std::exception&) {  // the next owner sees that this process is gone
  }
}

void FolderOwner::check() const {
  const std::string to = lost_to(state_->folder, state_->number, state_->nonce);
  if (!to.empty()) throw_lost(state_->folder, to);
}

void FolderOwner::check_seen() const {
  const std::lock_guard lock(state_->mutex);
  if (!state_->lost.empty()) throw_lost(state_->folder, state_->lost);
}

const std::string& FolderOwner::mark() const { return state_->mark; }

void check_owner(const Path& folder, const std::string& mark) {
  const auto [number, nonce] = parts_of(mark);
  const std::string to = lost_to(folder, number, nonce);
  if (!to.empty()) throw_lost(folder, to);
}

void see_owner(const Path& folder, const std::string& mark) {
  const auto [number, nonce] = parts_of(mark);
  const auto sees = [&, n = number, name = nonce] {
    const auto seen = read_mark(path_of(folder, n));
    return seen && seen->nonce == name;
  };
  if (wait_for(kSeen, sees)) return;
  throw InputError(fmt::format(
      "{}: what rank 0 wrote there is not to be seen from {} (in {}): all ranks must see one and "
      "the same folder, on a shared file system",
      folder.string(), host_name(), std::filesystem::current_path().string()));
}

std::optional<std::string> owner_of(const Path& folder) {
  const auto marks = marks_in(folder);
  if (marks.empty()) return std::nullopt;
  const auto mark = read_mark(marks.rbegin()->second);
  if (!mark) return std::nullopt;
  if (!mark->processes.empty() && on_this_machine(mark->processes[0]) &&
      !is_alive(mark->processes[0]))
    return std::nullopt;
  return describe(*mark);
}

}  // namespace eyrie::base
