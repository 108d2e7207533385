// A mixture is the user's to change when a run goes on: order, weights, sources; the documents of a
// source are not.
#include <gtest/gtest.h>

#include "support/crossing.h"

namespace eyrie::trainer {
namespace {

using test::ending_of;
using test::train_on;

class MixtureChange : public testing::Test {
 protected:
  // A run that was stopped in its first stage, with a mixture (none: all sources alike).
  RunConfig stopped(const std::string& name, const std::string& mixture) {
    EXPECT_EQ(train_on(1, with(name, mixture), {.stop_after = 3}), Outcome::kStopped);
    return with(name, mixture);
  }
  RunConfig with(const std::string& name, const std::string& mixture,
                 const std::string& shards = "shards") {
    return tiny_.config(
        name, {fmt::format("stages.0.data={{shards: {}/{}{}}}", tiny_.path().string(), shards,
                           mixture.empty() ? "" : ", mixture: {" + mixture + "}")});
  }
  std::string refusal(const RunConfig& run, int ranks = 1) {
    try {
      train_on(ranks, run);
    } catch (const base::InputError& error) {
      return error.what();
    }
    return "";
  }
  void build(const std::string& output, const std::string& sources) {
    auto yaml = base::Config::parse(
        fmt::format("tokenizer: bytes\noutput: {}/{}\nshard_tokens: 2000\nvalidation: 0.1\n"
                    "sources: [{}]\n",
                    tiny_.path().string(), output, sources),
        "data.yaml");
    data_pipeline::build_dataset(data_pipeline::read_data_config(yaml), {},
                                 *parallel::open_single());
  }
  std::string source(const std::string& name, const std::string& file) {
    return fmt::format("{{name: {}, files: {}/raw/{}.jsonl}}", name, tiny_.path().string(), file);
  }
  const test::TinyRun tiny_;
};

TEST_F(MixtureChange, OrderAndWeightsAreTheUsers) {
  int number = 0;
  for (const char* mixture : {"math: 0.3, web: 0.7", "web: 1, math: 0", "math: 1", "web: 2"}) {
    const std::string name = fmt::format("run{}", number++);
    stopped(name, "web: 0.7, math: 0.3");
    EXPECT_EQ(refusal(with(name, mixture)), "") << mixture;
  }
  // From nothing said to something said, and back.
  stopped("none", "");
  EXPECT_EQ(refusal(with("none", "math: 1, web: 3")), "");
  stopped("said", "web: 1, math: 0");
  EXPECT_EQ(refusal(with("said", "")), "");
}

TEST_F(MixtureChange, TheChangedRunIsTheSameOnAnyRanks) {
  for (const char* name : {"one", "two"}) stopped(name, "web: 0.7, math: 0.3");
  stopped("unchanged", "web: 0.7, math: 0.3");
  EXPECT_EQ(refusal(with("one", "math: 1, web: 1"), 1), "");
  EXPECT_EQ(refusal(with("two", "math: 1, web: 1"), 2), "");
  EXPECT_EQ(refusal(with("unchanged", "web: 0.7, math: 0.3"), 2), "");
  EXPECT_EQ(ending_of(with("one", ""), 9).bits, ending_of(with("two", ""), 9).bits);
  EXPECT_NE(ending_of(with("one", ""), 9).bits, ending_of(with("unchanged", ""), 9).bits);
}

TEST_F(MixtureChange, SourcesMayComeAndGoButNotChange) {
  build("more",
        source("web", "web") + ", " + source("math", "math") + ", " + source("code", "math"));
  build("fewer", source("web", "web"));
  build("others", source("poems", "web"));
  build("changed", source("web", "math") + ", " + source("math", "math"));
  for (const char* mixture : {"web: 0.7, math: 0.3", ""}) {
    const std::string base = *mixture == 0 ? "all-" : "some-";
    stopped(base + "more", mixture);
    EXPECT_EQ(refusal(with(base + "more", "web: 1, code: 1", "more")), "");
    stopped(base + "fewer", mixture);
    EXPECT_EQ(refusal(with(base + "fewer", "web: 1", "fewer")), "");
    stopped(base + "others", mixture);
    EXPECT_NE(refusal(with(base + "others", "", "others")).find("another data in stage 'first'"),
              std::string::npos);
    stopped(base + "changed", mixture);
    EXPECT_NE(
        refusal(with(base + "changed", mixture, "changed")).find("another data in stage 'first'"),
        std::string::npos);
  }
}

}  // namespace
}  // namespace eyrie::trainer
