// A run has one owner: a second start is refused, and an owner that lost the run commits nothing.
#include <gtest/gtest.h>

#include <chrono>
#include <mutex>
#include <thread>

#include "base/owner.h"
#include "checkpoint/list.h"
#include "support/crossing.h"

namespace eyrie::trainer {
namespace {

using test::checkpoints_of;
using test::failure_of;
using test::train_on;

TEST(Ownership, ASecondStartIsRefusedAndNamesTheOwner) {
  const test::TinyRun tiny;
  const auto run = tiny.config("run");
  {
    const base::FolderOwner owner(run.directory, {});
    for (const int ranks : {1, 2}) {
      const std::string refused = failure_of(ranks, run);
      EXPECT_TRUE(refused.starts_with("input: ")) << refused;
      EXPECT_NE(refused.find(fmt::format("another job is at work on this run: process {} on {}",
                                         ::getpid(), base::host_name())),
                std::string::npos)
          << refused;
    }
    EXPECT_EQ(failure_of(1, run, {.check = true}), "");  // looks only
    owner.check();
  }
  EXPECT_FALSE(std::filesystem::exists(run.directory));
  EXPECT_EQ(failure_of(2, run), "");
  EXPECT_EQ(base::owner_of(run.directory), std::nullopt);  // given back
}

TEST(Ownership, WhoLostTheRunCommitsNothing) {
  const test::TinyRun tiny;
  int number = 0;
  for (const int ranks : {1, 2}) {
    for (const char* async : {"checkpoint.async=true", "checkpoint.async=false"}) {
      const auto run = tiny.config(fmt::format("run{}", number++), {"checkpoint.every=2", async});
      const base::Path folder = run.directory;
      std::mutex mutex;
      TrainOptions options;
      // While step 4 is computed another job takes the run.
      options.gain = [&](std::int64_t batch) {
        const std::lock_guard lock(mutex);
        while (batch == 3 &&
               !std::filesystem::exists(checkpoint::checkpoint_path(folder, 2) / "manifest.json"))
          std::this_thread::sleep_for(std::chrono::milliseconds(5));  // written behind the training
        if (batch == 3 && !std::filesystem::exists(folder / ".owner-2"))
          std::filesystem::copy(folder / ".owner-1", folder / ".owner-2");
        return 1.0;
      };
      const std::string failure = failure_of(ranks, run, options);
      EXPECT_NE(failure.find("was taken over by"), std::string::npos) << failure;
      EXPECT_EQ(checkpoints_of(run), std::vector<std::int64_t>{2});
      EXPECT_FALSE(std::filesystem::exists(checkpoint::checkpoint_path(folder, 4)));
      EXPECT_TRUE(std::filesystem::exists(folder / ".owner-2"));
    }
  }
}

TEST(Ownership, RanksWithOtherInputAreNamed) {
  const test::TinyRun tiny, other;
  const auto one = tiny.config("run"), seed = tiny.config("run", {"seed=4"}),
             far = tiny.config("run", {"evaluation.data=/elsewhere"});
  const auto failure = [&](const RunConfig& second) {
    std::vector<std::string> messages(2);
    parallel::run_in_process(2, [&](parallel::Communicator& world) {
      try {
        train(world.rank() == 0 ? one : second, world, {.stop_after = 1}, {});
      } catch (const base::InputError& error) {
        messages[static_cast<std::size_t>(world.rank())] = error.what();
      }
    });
    EXPECT_EQ(messages[0], messages[1]);
    return messages[0];
  };
  EXPECT_NE(failure(seed).find("seed is 4 here, 3 there (1 rank is not as rank 0: 1)"),
            std::string::npos)
      << failure(seed);
  EXPECT_FALSE(std::filesystem::exists(one.directory));
  EXPECT_EQ(failure(far), "");
}

// The same path, other shards: each node's own disk.
TEST(Ownership, RanksWithOtherShardsAreNamed) {
  const test::TinyRun tiny;
  std::filesystem::create_directory(tiny.path() / "node1");
  auto yaml = base::Config::parse(
      fmt::format(
          "tokenizer: bytes\noutput: {0}/node1/shards\nshard_tokens: 2000\nvalidation: 0.1\n"
          "sources:\n  - {{name: web, files: {0}/raw/math.jsonl}}\n"
          "  - {{name: math, files: {0}/raw/math.jsonl}}\n",
          tiny.path().string()),
      "data.yaml");
  data_pipeline::build_dataset(data_pipeline::read_data_config(yaml), {}, *parallel::open_single());
  const auto run = tiny.config("run");
  auto there = run;
  there.stages[0].shards = (tiny.path() / "node1/shards").string();
  std::string message;
  parallel::run_in_process(2, [&](parallel::Communicator& world) {
    try {
      train(world.rank() == 0 ? run : there, world, {}, {});
    } catch (const base::InputError& error) {
      if (world.rank() == 0) message = error.what();
    }
  });
  EXPECT_NE(message.find("stages.0.data.shards"), std::string::npos) << message;
  EXPECT_NE(message.find("rank 1: this rank on " + base::host_name()), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(run.directory));
}

}  // namespace
}  // namespace eyrie::trainer
