// A run that cannot be read for a moment is neither new nor damaged: it is left as it is.
#include <gtest/gtest.h>

#include "checkpoint/list.h"
#include "checkpoint/retention.h"
#include "support/crossing.h"

namespace eyrie::trainer {
namespace {

namespace fs = std::filesystem;
using test::failure_of;
using test::train_on;

// In the place of what is moved away: a link to itself, which no user can look through (ELOOP), or
// one whose target's file system is not mounted.
TEST(UnreadableRun, IsLeftAsItIs) {
  const test::TinyRun tiny;
  const auto run = tiny.config("run", {"checkpoint.keep=1"});
  ASSERT_EQ(train_on(1, run, {.stop_after = 4}), Outcome::kStopped);
  const fs::path folder = run.directory, newest = checkpoint::checkpoint_path(folder, 4);
  const std::string metrics = base::read_file(folder / "metrics.jsonl");
  for (const fs::path& at : {folder / "checkpoints", newest, newest / "manifest.json",
                             newest / "shard-0000.h5", folder / "metrics.jsonl"}) {
    for (const char* target : {"loop", "nowhere/at/all"}) {
      const fs::path aside = at.string() + ".aside";
      fs::rename(at, aside);
      fs::create_symlink(std::string(target) == "loop" ? at.filename() : fs::path(target), at);
      for (const int ranks : {1, 2}) {
        const std::string failure = failure_of(ranks, run);
        EXPECT_NE(failure.find(at.string()), std::string::npos) << at << ": " << failure;
        // The disk's failure; where a link leads is the user's to mend.
        if (std::string(target) == "loop") {
          EXPECT_FALSE(failure.starts_with("input")) << failure;
        }
      }
      EXPECT_ANY_THROW(checkpoint::prune_checkpoints(folder, {1, 0, 0}, true);
                       base::read_file(folder / "metrics.jsonl"));
      fs::remove(at);
      fs::rename(aside, at);
      EXPECT_EQ(base::read_file(folder / "metrics.jsonl"), metrics) << at;
      EXPECT_TRUE(fs::exists(checkpoint::checkpoint_path(folder, 3))) << at;
    }
  }
  EXPECT_EQ(train_on(2, run), Outcome::kDone);
  const auto whole = tiny.config("whole");
  train_on(1, whole);
  EXPECT_EQ(test::ending_of(run, 9).bits, test::ending_of(whole, 9).bits);
}

}  // namespace
}  // namespace eyrie::trainer
