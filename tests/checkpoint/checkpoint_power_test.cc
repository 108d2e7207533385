// Power loss before every operation of a save: whatever the disk keeps of what was not synced, the
// newest valid checkpoint is the old one or the new one, whole.
#include <gtest/gtest.h>

#include <cerrno>
#include <mutex>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "checkpoint/list.h"
#include "checkpoint/reader.h"
#include "checkpoint/retention.h"
#include "checkpoint/writer.h"
#include "support/checkpoint_samples.h"
#include "support/power_loss.h"

namespace eyrie::checkpoint {
namespace {

using test::PowerLoss;

class CheckpointPower : public CheckpointFolder {
 protected:
  // Runs `work` and lets the power go before each of its operations and after the last one, in
  // every way. The newest valid checkpoint of what is left then must be whole, and after the last
  // operation that of step `at_end` (0: any). `fault(number)` may order an error.
  void lose_power(const std::string& what, std::int64_t at_end, const std::function<void()>& work,
                  const std::function<bool(const Path&)>& is_whole,
                  const std::function<int(int)>& fault = {}) {
    PowerLoss disk(run_);
    std::mutex mutex;
    int moments = 0, cases = 0;
    const auto leave = [&] {
      const auto one = [&](PowerLoss::Law law, unsigned seed) {
        disk.leave(
            folder_ / fmt::format("left/moment-{}/{}-{}", moments, static_cast<int>(law), seed),
            law, seed);
      };
      one(PowerLoss::Law::kPromised, 0);
      one(PowerLoss::Law::kNames, 0);
      one(PowerLoss::Law::kHalves, 0);
      for (unsigned seed = 0; seed < 5; ++seed) one(PowerLoss::Law::kAny, seed);
      ++moments;
    };
    int number = 0;
    base::set_fault_hook([&](std::string_view operation, const Path& path) {
      const std::lock_guard lock(mutex);
      leave();
      const int error = fault ? fault(number++) : 0;
      if (error == 0) disk.before(operation, path);
      return error;
    });
    work();
    base::set_fault_hook(nullptr);
    leave();
    std::map<std::string, int> found;  // by step
    for (int moment = 0; moment < moments; ++moment) {
      for (const auto& left :
           std::filesystem::directory_iterator(folder_ / fmt::format("left/moment-{}", moment))) {
        std::vector<std::string> why_not;
        const auto valid = newest_valid_checkpoint(left.path(), &why_not);
        ASSERT_TRUE(valid) << what << ", " << left.path() << ": "
                           << fmt::format("{}", fmt::join(why_not, "\n"));
        EXPECT_TRUE(is_whole(*valid)) << what << ", " << left.path();
        if (moment + 1 == moments && at_end > 0) {
          EXPECT_EQ(CheckpointReader(*valid).step(), at_end) << what << ", " << left.path();
        }
        ++found[valid->filename().string()];
        ++cases;
      }
    }
    std::filesystem::remove_all(folder_ / "left");
    cases_ += cases;
    for (const auto& [name, count] : found) found_[name] += count;
    if (!fault)
      fmt::print("power loss, {}: {} moments, {} cases, newest valid: {}\n", what, moments, cases,
                 fmt::join(found, ", "));
  }

  int cases_ = 0;
  std::map<std::string, int> found_;
};

bool is_small(const Path& directory) {
  return first_value(directory) == static_cast<float>(CheckpointReader(directory).step());
}

TEST_F(CheckpointPower, InASave) {
  save_small(step1_, 1, 1);
  lose_power(
      "a save", 2, [&] { save_small(step2_, 2, 2); }, is_small);
  EXPECT_GT(found_["step-00000001"], 10);
}

TEST_F(CheckpointPower, InASaveOfTheSameStep) {
  save_small(step1_, 1, 7);
  lose_power(
      "a save in place of another", 1, [&] { save_small(step1_, 1, 8); },
      [](const Path& directory) {
        return first_value(directory) == 7 || first_value(directory) == 8;
      });
}

TEST_F(CheckpointPower, InASaveOverTheRestOfAnInterruptedOne) {
  save_small(step1_, 1, 1);
  save_small(step2_, 2, 2);
  base::remove_tree(step2_ / "manifest.json");
  lose_power(
      "a save over an unfinished one", 2, [&] { save_small(step2_, 2, 2); }, is_small);
  EXPECT_GT(found_["step-00000001"], 10);
}

TEST_F(CheckpointPower, InRetention) {
  for (std::int64_t step : {1, 2, 3, 4})
    save_small(checkpoint_path(run_, step), step, static_cast<float>(step));
  lose_power(
      "retention", 4,
      [&] {
        prune_checkpoints(run_, {1, 0, 0});
      },
      is_small);
  EXPECT_EQ(found_.size(), 1u);
  EXPECT_TRUE(found_.contains("step-00000004"));
}

TEST_F(CheckpointPower, BehindTheTrainingOnTwoRanks) {
  const auto save_step = [&](std::int64_t step) {
    parallel::run_in_process(2, [&](parallel::Communicator& communicator) {
      const Pieces mine(Layout::kFlat, 2, communicator.rank(), static_cast<float>(step));
      CheckpointWriter writer(communicator);
      writer.begin(checkpoint_path(run_, step), mine.pieces, step, "{}", {});
      writer.finish();
    });
  };
  save_step(1);
  lose_power(
      "a save behind the training, 2 ranks", 2, [&] { save_step(2); },
      [](const Path& directory) {
        return holds_all(directory, static_cast<float>(CheckpointReader(directory).step()));
      });
  EXPECT_GT(found_["step-00000001"], 10);
}

TEST_F(CheckpointPower, WhileAFailedSaveCleansUp) {
  save_small(step1_, 1, 1);
  for (int at = 0; at < 30; at += 7) {
    lose_power(
        "a failed save", 0, [&] { message_of<base::Error>([&] { save_small(step2_, 2, 2); }); },
        is_small, [&](int number) { return number == at ? EIO : 0; });
    base::remove_tree(step2_);
  }
  fmt::print("power loss, failed saves: {} cases, newest valid: {}\n", cases_,
             fmt::join(found_, ", "));
}

}  // namespace
}  // namespace eyrie::checkpoint
