// Negative controls for resumption: each item of a checkpoint, tampered with or left out, makes the
// resumed run another run or is refused by name. Were any of them not looked at, the tests that
// compare resumed runs with undisturbed ones would show nothing.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "checkpoint/list.h"
#include "checkpoint/reader.h"
#include "checkpoint/save.h"
#include "support/checkpoint_samples.h"
#include "support/tiny_run.h"
#include "trainer/trainer.h"

namespace eyrie::trainer {
namespace {

using namespace checkpoint;
using nlohmann::json;

// Everything that a checkpoint holds, to be changed and written again with checksums that hold.
struct Content {
  struct Tensor {
    Axes shape;
    std::vector<float> values;
  };
  std::map<std::string, Tensor> tensors;
  json state;
  std::int64_t step;

  explicit Content(const Path& directory) {
    const CheckpointReader reader(directory);
    state = json::parse(reader.state());
    step = reader.step();
    for (const std::string& name : reader.names()) {
      Tensor& tensor = tensors[name];
      tensor.shape = reader.shape(name);
      tensor.values.resize(static_cast<std::size_t>(elements_of(tensor.shape)));
      reader.read_all(name, tensor.values.data());
    }
  }
  void write(const Path& directory) const {
    std::vector<TensorPiece> pieces;
    for (const auto& [name, tensor] : tensors) {
      pieces.push_back({name, tensor.shape, Axes(tensor.shape.size()), tensor.shape, 0,
                        elements_of(tensor.shape), tensor.values.data()});
    }
    save_checkpoint(directory, *parallel::open_single(), pieces, step, state.dump());
  }
};

void train_on_one(const RunConfig& run, const TrainOptions& options = {}) {
  const auto world = parallel::open_single();
  train(run, *world, options, {});
}

// What a run is known by: metrics without the clock's part, and the tensors at its end.
struct Trace {
  std::vector<std::string> lines;
  std::map<std::string, std::vector<float>> tensors;
  bool operator==(const Trace&) const = default;
};

Trace trace_of(const RunConfig& run) {
  Trace trace;
  std::ifstream file(run.directory + "/metrics.jsonl");
  for (std::string line; std::getline(file, line);) {
    json object = json::parse(line);
    for (const char* key : {"tokens_per_s", "flops_per_s", "mfu", "step_s", "data_s", "exchange_s",
                            "checkpoint_s", "memory_mb", "time"})
      object.erase(key);
    trace.lines.push_back(object.dump());
  }
  const auto last = newest_valid_checkpoint(run.directory);
  if (!last) throw base::Error(run.directory + " has no checkpoint");
  for (const auto& [name, tensor] : Content(*last).tensors) trace.tensors[name] = tensor.values;
  return trace;
}

// A run of 9 steps, once undisturbed, and stopped after 4: in the middle of its first stage,
// between two checkpoints, with moments, warm-up done, and its place in the data.
class ResumeControl : public testing::Test {
 protected:
  static constexpr std::int64_t kStop = 4;

  static void SetUpTestSuite() {
    tiny_ = std::make_unique<test::TinyRun>();
    const RunConfig run = tiny_->config("whole");
    train_on_one(run);
    whole_ = trace_of(run);
    train_on_one(tiny_->config("stopped"), {.stop_after = kStop});
  }
  static void TearDownTestSuite() {
    tiny_.reset();
    fmt::print("negative controls of resumption: {}\n", controls_);
  }

  // The message with which a run refuses to go on from the changed checkpoint, or its trace.
  struct Outcome {
    std::string refused;
    Trace trace;
    std::string log;
  };
  Outcome go_on(const std::function<void(Content&)>& change) {
    const Path from = tiny_->path() / "stopped";
    const std::string name = fmt::format("changed-{}", runs_++);
    const RunConfig run = tiny_->config(name);
    Content content(checkpoint_path(from, kStop));
    change(content);
    content.write(checkpoint_path(run.directory, content.step));
    std::filesystem::copy(from / "metrics.jsonl", Path(run.directory) / "metrics.jsonl");
    Outcome outcome;
    testing::internal::CaptureStderr();
    outcome.refused = message_of<InputError>([&] { train_on_one(run); });
    outcome.log = testing::internal::GetCapturedStderr();
    if (outcome.refused == "nothing was thrown") {
      outcome.refused.clear();
      outcome.trace = trace_of(run);
    }
    return outcome;
  }

  void expect_refused(const std::string& what, const std::function<void(Content&)>& change) {
    const Outcome outcome = go_on(change);
    EXPECT_NE(outcome.refused.find(what), std::string::npos)
        << "changed: " << what << "; " << outcome.refused;
    ++controls_;
  }
  void expect_another_run(const std::string& what, const std::function<void(Content&)>& change) {
    const Outcome outcome = go_on(change);
    EXPECT_EQ(outcome.refused, "") << what;
    EXPECT_NE(outcome.trace, whole_) << what << " makes no difference";
    ++controls_;
  }
  // Left out, it is refused by its name.
  void expect_needed(const char* key) {
    expect_refused(fmt::format("key '{}' not found", key),
                   [&](Content& content) { content.state.erase(key); });
  }

  static std::unique_ptr<test::TinyRun> tiny_;
  static Trace whole_;
  static int runs_, controls_;
};
std::unique_ptr<test::TinyRun> ResumeControl::tiny_;
Trace ResumeControl::whole_;
int ResumeControl::runs_ = 0;
int ResumeControl::controls_ = 0;

TEST_F(ResumeControl, WrittenAgainUnchangedItIsTheSameRun) {
  const Outcome outcome = go_on([](Content&) {});
  EXPECT_EQ(outcome.refused, "");
  EXPECT_EQ(outcome.trace.lines, whole_.lines);
  EXPECT_EQ(outcome.trace.tensors, whole_.tensors);
}

TEST_F(ResumeControl, Tensors) {
  for (const std::string group : {"parameters/", "moment1/", "moment2/"}) {
    const auto first = [&](Content& content) { return content.tensors.lower_bound(group); };
    expect_another_run("one value of " + group, [&](Content& content) {
      ASSERT_TRUE(first(content)->first.starts_with(group));
      first(content)->second.values[0] += 0.01f;
    });
    expect_another_run("all of " + group + " zero", [&](Content& content) {
      for (auto& [name, tensor] : content.tensors)
        if (name.starts_with(group)) tensor.values.assign(tensor.values.size(), 0);
    });
    expect_refused("has no tensor " + group, [&](Content& content) {
      std::erase_if(content.tensors, [&](auto& entry) { return entry.first.starts_with(group); });
    });
    expect_refused("has no tensor " + group,
                   [&](Content& content) { content.tensors.erase(first(content)); });
    expect_refused(group + "final_norm/scale has the shape", [&](Content& content) {
      auto& tensor = content.tensors.at(group + "final_norm/scale");
      tensor.values.pop_back();
      --tensor.shape[0];
    });
  }
}

TEST_F(ResumeControl, WhereTheRunStands) {
  expect_another_run("updates", [](Content& content) { content.state["updates"] = 0; });
  expect_another_run("updates, one off", [](Content& content) { content.state["updates"] = 5; });
  expect_needed("updates");
  expect_refused("step 5 of a checkpoint of step 4",
                 [](Content& content) { content.state["step"] = 5; });
  expect_another_run("step", [](Content& content) {
    content.state["step"] = content.step = 5;  // and so has the manifest
  });
  expect_needed("step");
  expect_refused("list of stages", [](Content& content) { content.state["stage"] = 1; });
  expect_another_run("stage", [](Content& content) {
    content.state["stage"] = 1;
    content.state["stage_name"] = "second";
    content.state["stage_step"] = 0;
  });
  expect_needed("stage");
  expect_needed("stage_name");
  expect_another_run("stage_step",  // the position in the data
                     [](Content& content) { content.state["stage_step"] = 3; });
  expect_refused("stage_step 7", [](Content& content) { content.state["stage_step"] = 7; });
  expect_needed("stage_step");
  expect_another_run("tokens", [](Content& content) { content.state["tokens"] = 0; });
  expect_needed("tokens");
}

TEST_F(ResumeControl, WhatItIsARunOf) {
  expect_refused("another seed (4)", [](Content& content) { content.state["seed"] = 4; });
  expect_needed("seed");
  expect_refused("another model", [](Content& content) { content.state["model"]["window"] = 8; });
  expect_needed("model");
  expect_refused("another data in stage 'first'",
                 [](Content& content) { content.state["data"][0] = "0123"; });
  expect_needed("data");
  expect_refused("another tokenizer",
                 [](Content& content) { content.state["tokenizer_hash"] = "0123"; });
  expect_needed("tokenizer_hash");
  expect_needed("precision");
  expect_needed("run");
  expect_needed("ranks");
  // What a user may change on purpose is told.
  const auto expect_told = [&](const std::string& told,
                               const std::function<void(Content&)>& change) {
    const Outcome outcome = go_on(change);
    EXPECT_EQ(outcome.refused, "");
    EXPECT_NE(outcome.log.find(told), std::string::npos) << told << ": " << outcome.log;
    ++controls_;
  };
  expect_told("was written in bf16; this run computes in fp32",
              [](Content& content) { content.state["precision"] = "bf16"; });
  const auto other_beta = [](Content& content) {
    std::string text = content.state["run"];
    text.replace(text.find("beta2: 0.95"), 11, "beta2: 0.99");
    content.state["run"] = text;
  };
  expect_told("another configuration: optimizer.beta2 0.99 → 0.95; it counts", other_beta);
  expect_told("another configuration: stages.0.batch_sequences 16 → 8; it counts",
              [](Content& content) {
                std::string text = content.state["run"];
                text.replace(text.find("batch_sequences: 8"), 18, "batch_sequences: 16");
                content.state["run"] = text;
              });
}

}  // namespace
}  // namespace eyrie::trainer
