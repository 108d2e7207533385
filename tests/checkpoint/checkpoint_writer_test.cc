// Saving behind the training: what is saved is the state at begin(), memory is bounded, errors come
// to all ranks at the same step's border, and a killed process leaves the older checkpoint.
#include "checkpoint/writer.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <random>
#include <thread>

#include <fmt/format.h>

#include "base/error.h"
#include "checkpoint/list.h"
#include "checkpoint/reader.h"
#include "support/checkpoint_samples.h"
#include "tensor/threads.h"

extern char** environ;

namespace eyrie::checkpoint {
namespace {

using namespace std::chrono_literals;

class Writer : public CheckpointFolder {};

TEST(Snapshot, CopiesIntoTheSameMemoryEveryTime) {
#ifndef __SANITIZE_THREAD__  // which knows nothing of OpenMP's threads
  tensor::set_thread_count(2);
#else
  tensor::set_thread_count(1);
#endif
  std::vector<float> small(5, 1), large(20'000'000, 2), last(3, 3);
  const auto piece = [](const char* name, const std::vector<float>& values) {
    const auto count = static_cast<std::int64_t>(values.size());
    return TensorPiece{name, {count}, {0}, {count}, 0, count, values.data()};
  };
  const TensorPiece nothing{"nothing", {0}, {0}, {0}, 0, 0, nullptr};
  const std::vector<TensorPiece> pieces = {piece("small", small), nothing, piece("large", large),
                                           piece("last", last)};
  Snapshot snapshot;
  const auto first = snapshot.take(pieces);
  ASSERT_EQ(first.size(), pieces.size());
  const std::vector<const void*> places = {first[0].data, first[2].data, first[3].data};
  EXPECT_EQ(snapshot.bytes(), 64u + 80'000'000u + 64u);
  large[19'999'999] = small[4] = 7;  // the copy does not see it
  EXPECT_EQ(static_cast<const float*>(first[2].data)[19'999'999], 2);
  EXPECT_EQ(static_cast<const float*>(first[0].data)[4], 1);
  const auto second = snapshot.take(pieces);
  EXPECT_EQ(second[2].name, "large");
  EXPECT_EQ(static_cast<const float*>(second[2].data)[19'999'999], 7);
  EXPECT_EQ(static_cast<const float*>(second[3].data)[2], 3);
  EXPECT_EQ((std::vector<const void*>{second[0].data, second[2].data, second[3].data}), places);
  EXPECT_EQ(snapshot.bytes(), 64u + 80'000'000u + 64u);
}

TEST_F(Writer, SavesTheStateAtBegin) {
  for (const int ranks : {1, 3}) {
    std::atomic<int> committed = 0;
    parallel::run_in_process(ranks, [&](parallel::Communicator& communicator) {
      CheckpointWriter writer(communicator);
      for (std::int64_t step : {1, 2, 3}) {
        Pieces mine(Layout::kColumns, ranks, communicator.rank(), static_cast<float>(step));
        writer.begin(checkpoint_path(run_, step), mine.pieces, step, "{}", [&] { ++committed; });
        for (auto& values : mine.values) values.assign(values.size(), std::nanf(""));
        writer.poll();
      }
      writer.finish();
      EXPECT_FALSE(writer.under_way());
      writer.finish();
      writer.poll();
    });
    EXPECT_EQ(committed, 3 * ranks);
    for (std::int64_t step : {1, 2, 3})
      EXPECT_TRUE(holds_all(checkpoint_path(run_, step), static_cast<float>(step)));
    base::remove_tree(run_);
  }
}

TEST_F(Writer, TheSameBytesAsASaveThatIsWaitedFor) {
  save(folder_ / "a", Layout::kRows, 2, 5, "{}");
  parallel::run_in_process(2, [&](parallel::Communicator& communicator) {
    const Pieces mine(Layout::kRows, 2, communicator.rank());
    CheckpointWriter writer(communicator);  // ends with the save
    writer.begin(folder_ / "b", mine.pieces, 5, "{}", {});
  });
  ASSERT_EQ(files_in(folder_ / "a"), files_in(folder_ / "b"));
  for (const Path& file : files_in(folder_ / "a"))
    EXPECT_EQ(base::read_file(folder_ / "a" / file), base::read_file(folder_ / "b" / file));
}

// Steps until the error comes; returns at which border, and the message, by rank.
std::vector<std::pair<int, std::string>> steps_until_error(
    int ranks, const std::function<void(CheckpointWriter&, int rank)>& begin) {
  std::vector<std::pair<int, std::string>> ends(static_cast<std::size_t>(ranks));
  parallel::run_in_process(ranks, [&](parallel::Communicator& communicator) {
    auto& [border, message] = ends[static_cast<std::size_t>(communicator.rank())];
    CheckpointWriter writer(communicator);
    begin(writer, communicator.rank());
    try {
      for (; border < 100'000 && writer.under_way(); ++border) {
        std::this_thread::sleep_for(std::chrono::microseconds(100 * communicator.rank()));
        writer.poll();
      }
    } catch (const base::Error& error) {
      message = error.what();
    }
    EXPECT_FALSE(writer.under_way());
  });
  return ends;
}

TEST_F(Writer, AnErrorComesToAllRanksAtTheSameBorder) {
  save(step1_, Layout::kFlat, 3, 1);
  base::set_fault_hook([](std::string_view operation, const Path& path) {
    return operation == "sync" && path.string().find("shard-0002") != std::string::npos ? EIO : 0;
  });
  const auto ends = steps_until_error(3, [&](CheckpointWriter& writer, int rank) {
    writer.begin(step2_, Pieces(Layout::kFlat, 3, rank).pieces, 2, "{}", {});
  });
  base::set_fault_hook(nullptr);
  for (const auto& end : ends) EXPECT_EQ(end, ends[0]);
  EXPECT_TRUE(ends[0].second.starts_with("rank 2: syncing")) << ends[0].second;
  EXPECT_FALSE(std::filesystem::exists(step2_));
  EXPECT_EQ(newest_valid_checkpoint(run_), step1_);
}

TEST_F(Writer, ValuesThatAreNotFiniteTouchNoFile) {
  save(step1_, Layout::kFlat, 2, 1);
  std::atomic<int> operations = 0;
  base::set_fault_hook([&](std::string_view, const Path&) { return ++operations, 0; });
  const auto ends = steps_until_error(2, [&](CheckpointWriter& writer, int rank) {
    Pieces mine(Layout::kFlat, 2, rank);
    if (rank == 1) mine.values.back().back() = std::nanf("");
    writer.begin(step2_, mine.pieces, 2, "{}", {});
  });
  base::set_fault_hook(nullptr);
  EXPECT_EQ(operations, 0);
  EXPECT_EQ(ends[1], ends[0]);
  EXPECT_TRUE(ends[0].second.starts_with("rank 1: tensor wide is not saved: element"))
      << ends[0].second;
  EXPECT_FALSE(std::filesystem::exists(step2_));
}

TEST_F(Writer, TheNextBeginThrowsToo) {
  base::set_fault_hook(
      [](std::string_view operation, const Path&) { return operation == "rename" ? ENOSPC : 0; });
  CheckpointWriter writer(*parallel::open_single());
  const Pieces mine(Layout::kFlat, 1, 0);
  writer.begin(step1_, mine.pieces, 1, "{}", {});
  EXPECT_NE(message_of<base::Error>([&] {
              writer.begin(step2_, mine.pieces, 2, "{}", {});
            }).find("no space left"),
            std::string::npos);
  base::set_fault_hook(nullptr);
  writer.begin(step2_, mine.pieces, 2, "{}", {});
  writer.finish();
  EXPECT_TRUE(holds_all(step2_, 0));
}

// Housekeeping after a commit: what it throws, of whatever type, is a warning.
TEST_F(Writer, NothingAfterTheCommitEndsTheTraining) {
  parallel::run_in_process(2, [&](parallel::Communicator& communicator) {
    CheckpointWriter writer(communicator);
    for (std::int64_t step : {1, 2, 3}) {
      const Pieces mine(Layout::kFlat, 2, communicator.rank(), static_cast<float>(step));
      writer.begin(checkpoint_path(run_, step), mine.pieces, step, "{}", [&] {
        if (communicator.rank() != 0) return;
        if (step == 1)
          throw std::filesystem::filesystem_error("looking at a checkpoint",
                                                  std::make_error_code(std::errc::io_error));
        if (step == 2) throw 42;
      });
      writer.finish();
    }
  });
  for (std::int64_t step : {1, 2, 3})
    EXPECT_TRUE(holds_all(checkpoint_path(run_, step), static_cast<float>(step)));
}

// A rank that ends by an error of its own does not wait without end for a save that the others
// left.
TEST_F(Writer, AnErrorOfTheTrainingEndsTheJob) {
  const auto start = std::chrono::steady_clock::now();
  EXPECT_NE(message_of<base::Error>([&] {
              parallel::run_in_process(2, [&](parallel::Communicator& communicator) {
                const Pieces mine(Layout::kFlat, 2, communicator.rank());
                CheckpointWriter writer(communicator);
                if (communicator.rank() == 1) throw base::Error("the loss is not finite");
                writer.begin(step1_, mine.pieces, 1, "{}", {});
                writer.finish();
              });
            }).find("the loss is not finite"),
            std::string::npos);
  EXPECT_LT(std::chrono::steady_clock::now() - start, 8s);
  EXPECT_EQ(newest_valid_checkpoint(run_), std::nullopt);
}

TEST_F(Writer, AKilledProcessLeavesTheOlderOne) {
  std::mt19937 random(5);
  int newest_was_unfinished = 0;
  std::int64_t before = 0;
  const std::string folder = run_.string();
  constexpr int kRounds = 6;
  for (int round = 0; round < kRounds; ++round) {
    std::string program = CHECKPOINT_WRITER_PROGRAM, argument = folder;
    char* const arguments[] = {program.data(), argument.data(), nullptr};
    pid_t pid = 0;
    ASSERT_EQ(::posix_spawn(&pid, program.c_str(), nullptr, nullptr, arguments, environ), 0);
    // Until it has written one of its own, then a random time.
    const auto end = std::chrono::steady_clock::now() + 30s;
    const auto newest = [&] {
      std::int64_t step = 0;
      for (const CheckpointInfo& info : list_checkpoints(run_ / "checkpoints"))
        if (info.complete) step = info.step;
      return step;
    };
    while (newest() <= before && std::chrono::steady_clock::now() < end)
      std::this_thread::sleep_for(1ms);
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 60'000));
    ::kill(pid, SIGKILL);
    int status = 0;
    ::waitpid(pid, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status)) << "it ended by itself: " << status;
    const auto valid = newest_valid_checkpoint(run_);
    ASSERT_TRUE(valid) << round;
    const CheckpointReader reader(*valid);
    EXPECT_GT(reader.step(), before);
    std::vector<float> values(100'000);
    reader.read_all("w", values.data());
    EXPECT_EQ(values, std::vector<float>(100'000, static_cast<float>(reader.step())));
    const auto all = list_checkpoints(run_ / "checkpoints");
    newest_was_unfinished += all.back().complete ? 0 : 1;
    before = all.back().step;
  }
  fmt::print("killed {} times, {} of them in the middle of a save\n", kRounds,
             newest_was_unfinished);
}

}  // namespace
}  // namespace eyrie::checkpoint
