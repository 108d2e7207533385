// One owner of a folder: who is refused, what is taken over, and what a late owner may still do.
#include "base/owner.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "base/error.h"
#include "base/process_name.h"
#include "support/scratch_folder.h"

namespace eyrie::base {
namespace {

using std::chrono::milliseconds;

class Owners : public testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : {"SLURM_JOB_ID", "SLURM_RESTART_COUNT", "SLURM_CLUSTER_NAME"})
      ::unsetenv(name);
  }
  void TearDown() override { SetUp(); }

  OwnerOptions quick() const {
    return {
        .what = "this run", .instead = "", .beat = milliseconds(20), .patience = milliseconds(300)};
  }
  std::string refusal() const {
    try {
      const FolderOwner owner(run_, quick());
    } catch (const InputError& error) {
      return error.what();
    }
    return "";
  }
  // Another process takes the folder and waits; what is returned is its number.
  pid_t started() const {
    int ready[2];
    EXPECT_EQ(::pipe(ready), 0);
    const pid_t pid = ::fork();
    if (pid == 0) {
      const FolderOwner owner(run_, quick());
      (void)!::write(ready[1], "x", 1);
      while (true) ::pause();
    }
    char byte;
    EXPECT_EQ(::read(ready[0], &byte, 1), 1);
    ::close(ready[0]);
    ::close(ready[1]);
    return pid;
  }
  static void end(pid_t pid) {
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
  }
  std::vector<std::string> marks() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(run_))
      names.push_back(entry.path().filename().string());
    return names;
  }
  // Text of the only mark with the machine's name replaced: as if it were another machine's.
  void move_to_another_machine(const std::string& name) const {
    std::ifstream in(run_ / name);
    std::string text((std::istreambuf_iterator<char>(in)), {});
    const std::string here = this_process().machine;
    for (std::size_t at; (at = text.find(here)) != std::string::npos;)
      text.replace(at, here.size(), "elsewhere");
    std::ofstream(run_ / name) << text;
  }

  const test::ScratchFolder folder_;
  const Path run_ = folder_.path() / "run";
};

TEST_F(Owners, OneAtATime) {
  {
    const FolderOwner owner(run_, quick());
    owner.check();
    check_owner(run_, owner.mark());
    EXPECT_NE(owner_of(run_), std::nullopt);
    const std::string refused = refusal();
    EXPECT_NE(refused.find(fmt::format("another job is at work on this run: process {} on {}",
                                       ::getpid(), host_name())),
              std::string::npos)
        << refused;
    owner.check();
  }
  // It leaves nothing, and takes the folder that it made with it.
  EXPECT_FALSE(std::filesystem::exists(run_));
  std::filesystem::create_directory(run_);
  { const FolderOwner owner(run_, quick()); }
  EXPECT_TRUE(marks().empty());
  EXPECT_EQ(owner_of(run_), std::nullopt);
}

TEST_F(Owners, OfAProcessThatWasKilledIsTakenOverAtOnce) {
  const pid_t pid = started();
  EXPECT_NE(refusal().find(fmt::format("process {} on", pid)), std::string::npos);
  ::kill(pid, SIGSTOP);  // stopped is not gone, however long
  std::this_thread::sleep_for(milliseconds(400));
  EXPECT_NE(refusal(), "");
  // Dead but not reaped counts as gone.
  ::kill(pid, SIGKILL);
  siginfo_t info;
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT), 0);
  {
    const FolderOwner owner(run_, {.patience = std::chrono::hours(1)});
    owner.check();
    EXPECT_EQ(marks(), std::vector<std::string>{".owner-2"});
  }
  ::waitpid(pid, nullptr, 0);
}

TEST_F(Owners, ANumberThatWasUsedAgainIsAnotherProcess) {
  ProcessName self = this_process();
  EXPECT_TRUE(is_alive(self));
  EXPECT_EQ(process_from_line(to_line(self)), self);
  self.start -= 1;
  EXPECT_FALSE(is_alive(self));
}

TEST_F(Owners, TheOtherRanksOfAJobMustBeGoneToo) {
  const pid_t rank1 = ::fork();
  if (rank1 == 0)
    while (true) ::pause();
  ProcessName other = this_process();
  {
    std::ifstream stat(fmt::format("/proc/{}/stat", rank1));
    std::string line;
    std::getline(stat, line);
    std::istringstream fields(line.substr(line.rfind(')') + 1));
    std::string field;
    for (int number = 3; number <= 22; ++number) fields >> field;
    other.pid = rank1;
    other.start = std::stoll(field);
  }
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t rank0 = ::fork();
  if (rank0 == 0) {
    OwnerOptions options = quick();
    options.processes = {to_line(this_process()), to_line(other)};
    const FolderOwner owner(run_, options);
    (void)!::write(ready[1], "x", 1);
    while (true) ::pause();
  }
  char byte;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  end(rank0);
  std::atomic<bool> taken = false;
  std::thread taker([&] {
    const FolderOwner owner(run_, quick());
    taken = true;
  });
  std::this_thread::sleep_for(milliseconds(500));
  EXPECT_FALSE(taken);
  end(rank1);
  taker.join();
  EXPECT_TRUE(taken);
}

TEST_F(Owners, OnAnotherMachineTheCounterTells) {
  const pid_t pid = started();
  move_to_another_machine(".owner-1");  // and it counts on
  EXPECT_NE(refusal(), "");
  end(pid);
  const FolderOwner owner(run_, quick());
  EXPECT_EQ(marks(), std::vector<std::string>{".owner-2"});
}

TEST_F(Owners, OneThatComesBackWritesNothingMore) {
  const pid_t pid = started();
  ::kill(pid, SIGSTOP);
  move_to_another_machine(".owner-1");
  std::ifstream file(run_ / ".owner-1");
  std::string line, nonce;
  while (std::getline(file, line))
    if (line.starts_with("nonce: ")) nonce = line.substr(7);
  const std::string late = "1 " + nonce;
  check_owner(run_, late);
  {
    const FolderOwner owner(run_, quick());
    for (const bool while_owned : {true, false}) {
      (void)while_owned;
      EXPECT_THROW(check_owner(run_, late), Error);
    }
  }
  // After the new owner's end too.
  EXPECT_THROW(check_owner(run_, late), Error);
  end(pid);
}

TEST_F(Owners, TheLateOneSeesItByItself) {
  auto late = std::make_unique<FolderOwner>(run_, quick());
  std::filesystem::copy(run_ / ".owner-1", run_ / ".owner-2");
  for (int i = 0; i < 500; ++i) {
    try {
      late->check_seen();
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("was taken over by process"), std::string::npos);
      late.reset();
      EXPECT_TRUE(std::filesystem::exists(run_ / ".owner-2"));
      return;
    }
    std::this_thread::sleep_for(milliseconds(20));
  }
  FAIL() << "it never saw it";
}

TEST_F(Owners, ALaterStartOfTheSameSlurmJobTakesOverAtOnce) {
  ::setenv("SLURM_JOB_ID", "77", 1);
  const pid_t pid = started();
  ::setenv("SLURM_RESTART_COUNT", "0", 1);
  EXPECT_NE(refusal().find("(Slurm job 77)"), std::string::npos);
  ::setenv("SLURM_RESTART_COUNT", "1", 1);
  ::setenv("SLURM_CLUSTER_NAME", "other", 1);
  EXPECT_NE(refusal(), "");
  ::unsetenv("SLURM_CLUSTER_NAME");
  { const FolderOwner owner(run_, quick()); }
  end(pid);
}

// Of many that find a stale mark at the same moment one takes it, again and again.
TEST_F(Owners, OfManyTakersOneWins) {
  for (int round = 0; round < 10; ++round) {
    end(started());
    std::atomic<int> owners = 0, refused = 0, ended = 0;
    constexpr int kTakers = 8;
    std::vector<std::thread> takers;
    for (int i = 0; i < kTakers; ++i)
      takers.emplace_back([&] {
        try {
          const FolderOwner owner(run_, quick());
          ++owners;
          ++ended;
          while (ended < kTakers) std::this_thread::sleep_for(milliseconds(1));
          owner.check();
        } catch (const InputError&) {
          ++refused;
          ++ended;
        }
      });
    for (std::thread& taker : takers) taker.join();
    EXPECT_EQ(owners, 1);
    EXPECT_EQ(refused, kTakers - 1);
  }
}

}  // namespace
}  // namespace eyrie::base
