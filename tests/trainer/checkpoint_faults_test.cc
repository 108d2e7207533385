// Faults under a save: every operation on a file that any rank makes fails in turn, in a save that
// the caller waits for and in one behind its back. Each failure is every rank's, leaves the earlier
// checkpoint sound and nothing of its own, and the next save works.
#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <map>
#include <mutex>

#include <fmt/format.h>

#include "base/error.h"
#include "base/hdf5_file.h"
#include "checkpoint/list.h"
#include "checkpoint/reader.h"
#include "checkpoint/retention.h"
#include "checkpoint/save.h"
#include "checkpoint/writer.h"
#include "data_pipeline/shard.h"
#include "support/checkpoint_samples.h"
#include "support/tiny_run.h"
#include "trainer/trainer.h"

namespace eyrie::trainer {
namespace {

using namespace checkpoint;

class CheckpointFaults : public CheckpointFolder {};

struct Kind {
  int error;
  const char* text;
};
constexpr Kind kKinds[] = {{ENOSPC, "no space left"},
                           {EIO, "Input/output error"},
                           {base::kShortWrite, "Input/output error"}};

// A fault under operation `at` of rank `rank` (and, with `and_later`, of all that it makes
// afterwards). at -1: only counts.
class Fault {
 public:
  Fault(int rank, int at, int error, bool and_later) {
    base::set_fault_hook([=, this](std::string_view operation, const Path&) {
      const std::lock_guard lock(mutex_);
      const int now = counts_[base::rank()]++;
      names_[base::rank()].emplace_back(operation);
      const bool here = base::rank() == rank && at >= 0 && (now == at || (and_later && now > at));
      return here ? error : 0;
    });
  }
  ~Fault() { base::set_fault_hook(nullptr); }

  const std::vector<std::string>& operations(int rank) { return names_[rank]; }

 private:
  std::mutex mutex_;
  std::map<int, int> counts_;
  std::map<int, std::vector<std::string>> names_;
};

// Every rank's message, or "" where nothing was thrown.
std::vector<std::string> save_on(int ranks, const Path& directory, std::int64_t step, bool behind) {
  std::vector<std::string> messages(static_cast<std::size_t>(ranks));
  parallel::run_in_process(ranks, [&](parallel::Communicator& communicator) {
    const Pieces mine(Layout::kFlat, ranks, communicator.rank(), static_cast<float>(step));
    try {
      if (behind) {
        CheckpointWriter writer(communicator);
        writer.begin(directory, mine.pieces, step, "{}", {});
        while (writer.under_way()) writer.poll();
      } else {
        save_checkpoint(directory, communicator, mine.pieces, step, "{}");
      }
    } catch (const base::Error& error) {
      messages[static_cast<std::size_t>(communicator.rank())] = error.what();
    }
  });
  return messages;
}

TEST_F(CheckpointFaults, EveryOperationOfEveryRank) {
  save_on(2, step1_, 1, false);
  int operations = 0, cases = 0, committed = 0;
  for (const int ranks : {1, 2, 3}) {
    std::vector<std::vector<std::string>> names;
    {
      Fault none(0, -1, 0, false);
      save_on(ranks, step2_, 2, false);
      for (int rank = 0; rank < ranks; ++rank)
        names.push_back(none.operations(ranks == 1 ? -1 : rank));
    }
    base::remove_tree(step2_);
    for (int rank = 0; rank < ranks; ++rank) {
      const auto& mine = names[static_cast<std::size_t>(rank)];
      ASSERT_GT(mine.size(), rank == 0 ? 20u : 10u);
      operations += static_cast<int>(mine.size());
      for (int at = 0; at < static_cast<int>(mine.size()); ++at) {
        for (const auto& [error, text] : kKinds) {
          if (error == base::kShortWrite && mine[static_cast<std::size_t>(at)] != "write") continue;
          for (const bool and_later : {false, true}) {
            for (const bool behind : {false, true}) {
              const std::string what =
                  fmt::format("{} ranks, operation {} ({}) of rank {}, error {}{}{}", ranks, at,
                              mine[static_cast<std::size_t>(at)], rank, error,
                              and_later ? " from there on" : "", behind ? ", behind" : "");
              std::vector<std::string> messages;
              {
                const Fault fault(ranks == 1 ? -1 : rank, at, error, and_later);
                messages = save_on(ranks, step2_, 2, behind);
              }
              ++cases;
              for (const std::string& message : messages) EXPECT_EQ(message, messages[0]) << what;
              const auto valid = newest_valid_checkpoint(run_);
              ASSERT_TRUE(valid) << what;
              if (messages[0].empty()) {  // it came after the commit
                ++committed;
                EXPECT_EQ(at + 1, static_cast<int>(mine.size())) << what;
                EXPECT_EQ(*valid, step2_) << what;
              } else {
                EXPECT_NE(messages[0].find(text), std::string::npos) << what << messages[0];
                if (ranks > 1) {
                  EXPECT_TRUE(messages[0].starts_with(fmt::format("rank {}: ", rank)))
                      << what << messages[0];
                }
                EXPECT_TRUE(and_later || !std::filesystem::exists(step2_)) << what;
                // A disk that takes nothing any more may keep the new one, if it was whole.
                EXPECT_TRUE(and_later || *valid == step1_) << what;
              }
              EXPECT_TRUE(holds_all(step1_, 1)) << what;
              EXPECT_TRUE(*valid == step1_ || holds_all(step2_, 2)) << what;
              if (!and_later && behind) {
                EXPECT_EQ(save_on(ranks, step2_, 2, behind)[0], "") << what;
                EXPECT_EQ(newest_valid_checkpoint(run_), step2_) << what;
              }
              base::remove_tree(step2_);
            }
          }
        }
      }
    }
  }
  fmt::print("faults: {} operations of ranks, {} cases, {} of them after the commit\n", operations,
             cases, committed);
}

TEST_F(CheckpointFaults, ReplacingOneOfTheSameStepKeepsTheOldUntilTheEnd) {
  save_small(step1_, 1, 1);
  int operations = 0, cases = 0;
  base::set_fault_hook([&](std::string_view, const Path&) { return ++operations, 0; });
  save_small(step1_, 1, 2);
  base::set_fault_hook(nullptr);
  EXPECT_EQ(first_value(step1_), 2);
  EXPECT_EQ(list_checkpoints(run_ / "checkpoints").size(), 1u);
  for (int at = 0; at < operations; ++at) {
    for (const bool and_later : {false, true}) {
      save_small(step1_, 1, 3);
      int now = 0;
      base::set_fault_hook([&](std::string_view, const Path&) {
        const int mine = now++;
        return mine == at || (and_later && mine > at) ? EIO : 0;
      });
      const std::string message = message_of<base::Error>([&] { save_small(step1_, 1, 4); });
      base::set_fault_hook(nullptr);
      ++cases;
      const auto valid = newest_valid_checkpoint(run_);
      ASSERT_TRUE(valid) << at;
      if (message == "nothing was thrown") {
        EXPECT_EQ(first_value(*valid), 4) << at;  // only the old one's removal failed
      } else if (!and_later) {
        EXPECT_EQ(*valid, step1_) << at;
        EXPECT_EQ(first_value(*valid), 3) << at;
      } else {
        EXPECT_TRUE(first_value(*valid) == 3 || first_value(*valid) == 4) << at;
      }
      base::remove_tree(run_ / "checkpoints");
    }
  }
  fmt::print("faults while a checkpoint is replaced: {} cases\n", cases);
}

TEST_F(CheckpointFaults, UnderRetention) {
  const auto fill = [&] {
    for (std::int64_t step : {1, 2, 3, 4})
      save_small(checkpoint_path(run_, step), step, static_cast<float>(step));
  };
  fill();
  int operations = 0;
  base::set_fault_hook([&](std::string_view, const Path&) { return ++operations, 0; });
  prune_checkpoints(run_, {2, 0, 0});
  ASSERT_GT(operations, 3);
  for (int at = 0; at < operations; ++at) {
    base::set_fault_hook(nullptr);
    fill();
    int now = 0;
    base::set_fault_hook([&](std::string_view, const Path&) { return now++ == at ? EIO : 0; });
    EXPECT_THROW(prune_checkpoints(run_, {2, 0, 0}), base::Error) << at;
    base::set_fault_hook(nullptr);
    for (std::int64_t step : {3, 4})
      EXPECT_EQ(first_value(checkpoint_path(run_, step)), static_cast<float>(step)) << at;
  }
  fmt::print("faults under retention: {} cases\n", operations);
}

// A bit of every kind of file, at many places: noticed on opening or by verify, and the older
// checkpoint is taken with a warning.
TEST_F(CheckpointFaults, FlippedBitsSendTheRunToTheOlderOne) {
  save_on(1, step1_, 1, false);
  save_on(2, step2_, 2, false);
  std::map<std::string, int> cases;  // by what the warning says
  for (const Path& file : files_in(step2_)) {
    const std::size_t bytes = base::read_file(step2_ / file).size();
    for (std::size_t at = 0; at < bytes; at += at < 128 || at + 128 > bytes ? 1 : 23) {
      test::flip_bit(step2_ / file, at, at % 8);
      std::vector<std::string> why_not;
      ASSERT_EQ(newest_valid_checkpoint(run_, &why_not), step1_) << file << " " << at;
      ASSERT_EQ(why_not.size(), 1u);
      ASSERT_NE(why_not[0].find((step2_ / file).string() + ": "), std::string::npos) << why_not[0];
      for (const char* what :
           {"manifest is damaged", "data is damaged", "match its checksum footer", "fit its size",
            "without the checksum footer"})
        if (why_not[0].find(what) != std::string::npos) ++cases[what];
      test::flip_bit(step2_ / file, at, at % 8);
    }
  }
  EXPECT_EQ(newest_valid_checkpoint(run_), step2_);
  EXPECT_EQ(cases.size(), 5u);
  for (const auto& [what, count] : cases)
    fmt::print("flipped bits: {} times \"{}\"\n", count, what);
}

TEST(DataFaults, FlippedBitsOfAShardAreNoticed) {
  const test::TinyRun tiny;
  Path shard;
  for (const auto& entry : std::filesystem::directory_iterator(tiny.path() / "shards"))
    if (entry.path().extension() == ".h5") shard = entry.path();
  ASSERT_FALSE(shard.empty());
  const std::size_t bytes = base::read_file(shard).size();
  int on_opening = 0, on_verify = 0;
  for (std::size_t at = 0; at < bytes; at += at < 128 || at + 128 > bytes ? 1 : 23) {
    test::flip_bit(shard, at, at % 8);
    bool opened = false;
    const std::string message = message_of<InputError>([&] {
      const data_pipeline::Shard damaged(shard);
      opened = true;
      damaged.verify();
    });
    ASSERT_NE(message.find(shard.string()), std::string::npos) << at << ": " << message;
    ++(opened ? on_verify : on_opening);
    test::flip_bit(shard, at, at % 8);
  }
  EXPECT_GT(on_opening, 100);
  EXPECT_GT(on_verify, 100);
  fmt::print("flipped bits of a data shard: {} noticed on opening, {} by verify\n", on_opening,
             on_verify);
}

// A whole run: the disk fills up while the training goes on.
TEST(RunFaults, AFailedSaveStopsTheRunWhichThenGoesOn) {
  const test::TinyRun tiny;
  const auto train_on = [](int ranks, const RunConfig& run) {
    parallel::run_in_process(ranks,
                             [&](parallel::Communicator& world) { train(run, world, {}, {}); });
  };
  const RunConfig whole = tiny.config("whole");
  train_on(1, whole);
  for (const char* async : {"true", "false"}) {
    const RunConfig run =
        tiny.config(fmt::format("full-{}", async), {fmt::format("checkpoint.async={}", async)});
    base::set_fault_hook([](std::string_view operation, const Path& path) {
      const std::string name = path.string();
      return operation == "write" && name.find("step-00000006") != std::string::npos &&
                     name.find("shard-0001") != std::string::npos
                 ? ENOSPC
                 : 0;
    });
    const std::string message = message_of<base::Error>([&] { train_on(2, run); });
    base::set_fault_hook(nullptr);
    EXPECT_TRUE(message.starts_with("rank 1: no space left")) << message;
    EXPECT_FALSE(std::filesystem::exists(checkpoint_path(run.directory, 6)));
    EXPECT_EQ(newest_valid_checkpoint(run.directory), checkpoint_path(run.directory, 5));
    train_on(4, run);
    const CheckpointReader here(checkpoint_path(run.directory, 9)),
        there(checkpoint_path(whole.directory, 9));
    for (const std::string& name : there.names()) {
      std::vector<float> a(static_cast<std::size_t>(elements_of(there.shape(name)))), b(a.size());
      here.read_all(name, a.data());
      there.read_all(name, b.data());
      EXPECT_EQ(a, b) << name;
    }
  }
}

}  // namespace
}  // namespace eyrie::trainer
