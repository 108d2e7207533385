// RUN.yaml: defaults, assignments, and what is refused; learning-rate schedules.
#include "trainer/run_config.h"

#include <gtest/gtest.h>

#include <fstream>

#include "support/scratch_folder.h"
#include "trainer/schedule.h"

namespace eyrie::trainer {
namespace {

const char* kRun = R"(name: small
model: {preset: griffin-10m, width: 128}
tokenizer: bytes
stages:
  - name: one
    steps: 10
    batch_sequences: 8
    micro_shards: 4
    sequence_length: 64
    data: {shards: data/shards, mixture: {web: 3, math: 1}}
    evaluate: {tasks: [mmlu, piqa], limit: {mmlu: 5}}
)";

class RunFile : public testing::Test {
 protected:
  RunConfig read(const std::vector<std::string>& changes = {},
                 const std::string& text = kRun) const {
    const auto path = folder_.path() / "run.yaml";
    std::ofstream(path) << text;
    return read_run(path, changes);
  }
  std::string refusal(const std::vector<std::string>& changes,
                      const std::string& text = kRun) const {
    try {
      read(changes, text);
    } catch (const base::InputError& error) {
      return error.what();
    }
    return "nothing was refused";
  }
  test::ScratchFolder folder_;
};

TEST_F(RunFile, Checkpoints) {
  const RunConfig run = read();
  EXPECT_EQ(run.checkpoint_every, 100);
  EXPECT_TRUE(run.checkpoint_async);
  EXPECT_EQ(run.retention.keep, 3);
  EXPECT_EQ(run.retention.keep_every, 0);
  EXPECT_EQ(run.retention.best, 1);
  EXPECT_EQ(run.retention.stage_ends, run.stage_ends());
  EXPECT_EQ(run.stage_ends().size(), run.stages.size());
  EXPECT_EQ(run.stage_ends().back(), run.total_steps());
  EXPECT_TRUE(read({"checkpoint.keep_stage_ends=false"}).retention.stage_ends.empty());
  EXPECT_EQ(read({"stages.0.validate.sequences=0"}).retention.best, 0);
  const RunConfig other = read({"checkpoint.async=false", "checkpoint.best=4", "checkpoint.keep=2",
                                "checkpoint.keep_every=50"});
  EXPECT_FALSE(other.checkpoint_async);
  std::ofstream(folder_ / "resolved.yaml") << other.resolved;
  const checkpoint::Retention retention = read_retention(folder_ / "resolved.yaml");
  EXPECT_EQ(retention.keep, 2);
  EXPECT_EQ(retention.keep_every, 50);
  EXPECT_EQ(retention.best, 4);
  EXPECT_EQ(retention.stage_ends, run.stage_ends());
  EXPECT_NE(refusal({"checkpoint.best=-1"}).find("checkpoint.best"), std::string::npos);
  EXPECT_NE(refusal({"checkpoint.asynch=false"}).find("async"), std::string::npos);
}

TEST_F(RunFile, DefaultsAreFilledInAndWrittenOut) {
  const RunConfig run = read();
  EXPECT_EQ(run.directory, "runs/small");
  EXPECT_EQ(run.model.width, 128);
  EXPECT_EQ(run.model.rnn_width, 128);
  EXPECT_EQ(run.model.mlp_width, 384);
  EXPECT_TRUE(run.bf16);
  EXPECT_EQ(run.stages[0].mixture[0], (std::pair<std::string, double>("web", 3)));
  EXPECT_EQ(run.stages[0].limits.at("mmlu"), 5);
  EXPECT_FALSE(run.stages[0].windows);
  EXPECT_EQ(run.total_steps(), 10);
  const auto again = folder_.path() / "again.yaml";
  std::ofstream(again) << run.resolved;
  const RunConfig second = read_run(again, {});
  EXPECT_EQ(second.resolved, run.resolved);
  EXPECT_NE(run.resolved.find("weight_decay"), std::string::npos);
}

TEST_F(RunFile, AssignmentsOverrideTheFile) {
  const RunConfig run =
      read({"stages.0.steps=7", "optimizer.clip=0.5", "precision=fp32", "threads=3"});
  EXPECT_EQ(run.stages[0].steps, 7);
  EXPECT_EQ(run.optimizer.clip, 0.5);
  EXPECT_FALSE(run.bf16);
  EXPECT_EQ(run.threads, 3);
  EXPECT_TRUE(read({"stages.0.data.packing=windows"}).stages[0].windows);
}

TEST_F(RunFile, TokensBecomeSteps) {
  std::string text = kRun;
  text.replace(text.find("steps: 10"), 9, "tokens: 1025");
  EXPECT_EQ(read({}, text).stages[0].steps, 3);  // 512 tokens per step
  EXPECT_NE(refusal({"stages.0.steps=3"}, text).find("either steps or tokens"), std::string::npos);
}

TEST_F(RunFile, WhatIsComputedAgain) {
  using model::Recompute;
  EXPECT_EQ(read().recompute, Recompute::kNone);
  EXPECT_EQ(read({"recompute=blocks"}).recompute, Recompute::kBlocks);
  const RunConfig list = read({}, std::string(kRun) + "recompute: [mlp]\n");
  EXPECT_EQ(list.recompute, Recompute::kMlp);
  EXPECT_FALSE(list.recompute_auto);
  EXPECT_TRUE(read({"recompute=auto"}).recompute_auto);
  EXPECT_NE(refusal({"recompute=all"}).find("none, mlp, blocks, auto"), std::string::npos);
  EXPECT_NE(refusal({}, std::string(kRun) + "recompute: [attention]\n").find("'attention'"),
            std::string::npos);
}

TEST_F(RunFile, RefusalsNameFileLineKeyAndWhatToDo) {
  const std::string unknown = refusal({"optimizer.weight_decya=0.1"});
  EXPECT_NE(unknown.find("weight_decya"), std::string::npos) << unknown;
  EXPECT_NE(unknown.find("weight_decay"), std::string::npos) << unknown;
  const std::string line = refusal({}, std::string(kRun) + "sede: 1\n");
  EXPECT_NE(line.find("run.yaml:12"), std::string::npos) << line;
  EXPECT_NE(line.find("seed"), std::string::npos) << line;
  EXPECT_NE(refusal({"model.preset=grifin-10m"}).find("griffin-10m"), std::string::npos);
  EXPECT_NE(refusal({"model.heads=3"}).find("heads"), std::string::npos);
  EXPECT_NE(
      refusal({"stages.0.micro_shards=3"}).find("3 micro_shards do not divide batch_sequences 8"),
      std::string::npos);
  EXPECT_NE(refusal({"mesh.zero=4"}).find("no stage of ZeRO"), std::string::npos);
  EXPECT_NE(refusal({"stages.0.learning_rate.shape=cosin"}).find("cosine"), std::string::npos);
  EXPECT_NE(refusal({"stages.0.evaluate.limit.arc=3"}).find("arc"), std::string::npos);
  EXPECT_NE(refusal({"stages.0.data.best=0"}).find("out of range"), std::string::npos);
  EXPECT_NE(refusal({"stages.0.data.packing=best_fit"}).find("documents, windows"),
            std::string::npos);
  EXPECT_NE(refusal({"device=cuda"}).find("no CUDA backend"), std::string::npos);
}

// Every number has a range: each of these is refused, by a message that names the key.
TEST_F(RunFile, NonsenseIsRefusedByKey) {
  const std::vector<std::string> integers = {"seed",
                                             "threads",
                                             "mesh.data",
                                             "mesh.context",
                                             "mesh.tensor",
                                             "mesh.zero",
                                             "mesh.replicas",
                                             "outliers.window",
                                             "outliers.roll_back_after",
                                             "checkpoint.every",
                                             "checkpoint.keep",
                                             "checkpoint.keep_every",
                                             "checkpoint.best",
                                             "watchdog",
                                             "model.vocabulary",
                                             "model.width",
                                             "model.rnn_width",
                                             "model.mlp_width",
                                             "model.heads",
                                             "model.gate_blocks",
                                             "model.window",
                                             "stages.0.steps",
                                             "stages.0.batch_sequences",
                                             "stages.0.micro_shards",
                                             "stages.0.sequence_length",
                                             "stages.0.learning_rate.warmup",
                                             "stages.0.validate.every",
                                             "stages.0.validate.sequences",
                                             "stages.0.evaluate.limit.mmlu"};
  const std::vector<std::string> numbers = {"optimizer.beta1",
                                            "optimizer.beta2",
                                            "optimizer.epsilon",
                                            "optimizer.weight_decay",
                                            "optimizer.clip",
                                            "outliers.z_score",
                                            "model.soft_cap",
                                            "stages.0.data.best",
                                            "stages.0.data.mixture.web",
                                            "stages.0.learning_rate.peak",
                                            "stages.0.learning_rate.final"};
  const auto refused = [&](const std::string& key, const std::string& value) {
    const std::string message = refusal({key + "=" + value});
    const std::string last = key.substr(key.rfind('.') + 1);
    EXPECT_NE(message.find("command line: "), std::string::npos)
        << key << "=" << value << ": " << message;
    EXPECT_NE(message.find(last), std::string::npos) << message;
    EXPECT_LT(message.size(), 400u) << message;
  };
  for (const std::string& key : integers) {
    for (const char* value : {"-1", "-9223372036854775808", "1.5", "1e30", "nan", "many", "[]", ""})
      refused(key, value);
  }
  for (const std::string& key : integers) {
    // 9e18 documents per task are all of them; a seed may be any number.
    if (key != "seed" && !key.ends_with("mmlu")) refused(key, "9000000000000000000");
  }
  for (const std::string& key : numbers) {
    for (const char* value : {"-1", "1e300", "1e400", "nan", "inf", ".inf", "much", "{}", ""})
      refused(key, value);
  }
  for (const char* key :
       {"threads", "mesh.context", "mesh.tensor", "outliers.window", "checkpoint.every",
        "checkpoint.keep", "model.vocabulary", "model.width", "model.heads", "model.gate_blocks",
        "model.window", "stages.0.steps", "stages.0.batch_sequences", "stages.0.micro_shards",
        "stages.0.sequence_length", "optimizer.epsilon", "stages.0.data.best"})
    refused(key, "0");
  refused("stages.0.learning_rate.peak", "1e-310");
  refused("memory_limit", "24");
  refused("memory_limit", "-1GB");
  refused("model.layers", "RAX");
  refused("name", "..");
  refused("stages.0.name", "'a/b'");
}

// What no 64 bits hold, or no machine, though every number by itself is in its range.
TEST_F(RunFile, SizesThatCannotBeAreRefused) {
  const auto expect = [&](const std::vector<std::string>& changes, const std::string& text) {
    EXPECT_NE(refusal(changes).find(text), std::string::npos) << refusal(changes);
  };
  expect({"mesh.data=1048576", "mesh.tensor=1048576"}, "the ranks of the mesh would be");
  expect({"stages.0.batch_sequences=2Gi", "stages.0.sequence_length=2Gi"},
         "tokens of a micro-shard");
  expect({"stages.0.batch_sequences=2Gi", "stages.0.sequence_length=1Ki",
          "stages.0.micro_shards=1Mi", "stages.0.steps=1e12"},
         "tokens of the stage");
  expect({"stages.0.sequence_length=1Gi", "stages.0.batch_sequences=1", "stages.0.micro_shards=1",
          "model.layers=" + std::string(512, 'R'), "model.width=1Ki"},
         "need more than");
  expect({"model.width=1Mi", "model.layers=" + std::string(500, 'R')}, "parameters; at most");
}

TEST_F(RunFile, TheCommandLineIsBlamedForWhatItChanged) {
  EXPECT_TRUE(refusal({"stages.0.batch_sequences=6"})
                  .starts_with("command line: stages[0].batch_sequences: 4 micro_shards do not"));
  EXPECT_TRUE(refusal({"model.width=30"}).starts_with("command line: model.width: "))
      << refusal({"model.width=30"});
  std::string text = kRun;
  text += "    learning_rate: {warmup: 9}\n";
  EXPECT_TRUE(refusal({"stages.0.steps=3"}, text).starts_with("command line: stages[0].steps: 9"))
      << refusal({"stages.0.steps=3"}, text);
}

TEST(Schedule, ShapesReachPeakAndFinal) {
  ScheduleConfig schedule{1.0, 0.1, 4, "cosine", 0.2};
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 0, 20), 0.25);
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 3, 20), 1.0);
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 4, 20), 1.0);
  EXPECT_NEAR(learning_rate(schedule, 19, 20), 0.1, 1e-12);
  for (std::int64_t step = 5; step < 20; ++step) {
    EXPECT_LT(learning_rate(schedule, step, 20), learning_rate(schedule, step - 1, 20)) << step;
  }
  schedule.shape = "linear";
  EXPECT_NEAR(learning_rate(schedule, 19, 20), 0.1, 1e-12);
  EXPECT_NEAR(learning_rate(schedule, 4 + 5, 20), 1.0 - 0.9 * 5 / 15, 1e-12);
  schedule.shape = "constant";
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 19, 20), 1.0);
  schedule.shape = "wsd";
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 15, 20), 1.0);
  EXPECT_LT(learning_rate(schedule, 16, 20), 1.0);
  EXPECT_NEAR(learning_rate(schedule, 19, 20), 0.1, 1e-12);
}

}  // namespace
}  // namespace eyrie::trainer
