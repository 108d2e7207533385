// Configuration: types, defaults written back, overrides, and every way of getting it wrong with
// its message.
#include "base/config.h"

#include <gtest/gtest.h>

#include <fmt/format.h>

#include "support/scratch_folder.h"

namespace eyrie::base {
namespace {

using test::message_of;
using test::ScratchFolder;
using Pairs = std::vector<std::pair<std::string, double>>;

Config parse(const std::string& text) { return Config::parse(text, "run.yaml"); }

// The message of reading key "x" of "x: TEXT" as a T.
template <class T>
std::string refusal(const std::string& text) {
  return message_of<InputError>([&] { parse("x: " + text).get<T>("x"); });
}

TEST(Config, ReadsTypes) {
  Config config = parse(
      "name: quickstart\nseed: 12\nrate: 1e-3\nfresh: true\ntasks: [mmlu, piqa]\none: mmlu\n"
      "quoted: \"12\"\n");
  EXPECT_EQ(config.get<std::string>("name"), "quickstart");
  EXPECT_EQ(config.get<std::int64_t>("seed"), 12);
  EXPECT_EQ(config.get<double>("rate"), 1e-3);
  EXPECT_EQ(config.get<double>("seed"), 12.0);
  EXPECT_TRUE(config.get<bool>("fresh"));
  EXPECT_EQ(config.get<std::vector<std::string>>("tasks"),
            (std::vector<std::string>{"mmlu", "piqa"}));
  EXPECT_EQ(config.get<std::vector<std::string>>("one"), std::vector<std::string>{"mmlu"});
  EXPECT_EQ(config.get<std::string>("quoted"), "12");
  config.finish();
  EXPECT_EQ(config.name(), "run.yaml");
}

TEST(Config, IntegersInEveryNotation) {
  const std::vector<std::pair<std::string, std::int64_t>> cases = {
      {"0", 0},           {"-7", -7},
      {"+7", 7},          {"16Ki", 16384},
      {"16Mi", 16 << 20}, {"2Gi", 2ll << 30},
      {"1e6", 1'000'000}, {"1.5Ki", 1536},
      {"2.0", 2},         {"9223372036854775807", INT64_MAX}};
  for (const auto& [text, value] : cases) {
    EXPECT_EQ(parse("x: " + text).get<std::int64_t>("x"), value) << text;
  }
}

TEST(Config, RefusesWhatIsNotANumber) {
  for (const char* text : {"abc", "1.5", "12x", "9223372036854775808", "1e30", "Ki", "0x10", "inf",
                           ".nan", "\"\"", "true", "1 2"}) {
    EXPECT_NE(refusal<std::int64_t>(text).find("is not a whole number"), std::string::npos)
        << text << ": " << refusal<std::int64_t>(text);
  }
  EXPECT_EQ(refusal<std::int64_t>("abc"),
            "run.yaml:1: x: \"abc\" is not a whole number (12, 16Ki, 2Gi, 1e6)");
  EXPECT_EQ(refusal<double>("fast"), "run.yaml:1: x: \"fast\" is not a number");
  EXPECT_NE(refusal<double>("inf").find("is not a number"), std::string::npos);
  EXPECT_EQ(refusal<bool>("maybe"), "run.yaml:1: x: \"maybe\" is not true or false");
  EXPECT_EQ(refusal<std::string>("[a]"), "run.yaml:1: x: a list is not one text");
  EXPECT_EQ(refusal<std::string>("{a: 1}"), "run.yaml:1: x: a map is not one text");
  EXPECT_EQ(refusal<std::vector<std::string>>("{a: 1}"),
            "run.yaml:1: x: a map is not a list of texts");
  EXPECT_EQ(refusal<std::vector<std::string>>("[a, [b]]"),
            "run.yaml:1: x[1]: a list is not one text");
}

TEST(Config, MissingWithoutDefaultNamesLineAndPath) {
  Config config = parse("name: a\nmodel:\n  width: 3\n");
  EXPECT_EQ(message_of<InputError>([&] { config.map("model").get<std::string>("preset"); }),
            "run.yaml:2: model.preset: missing; it has no default");
  EXPECT_EQ(message_of<InputError>([&] { config.get<std::int64_t>("seed"); }),
            "run.yaml: seed: missing; it has no default");
  EXPECT_NE(refusal<std::int64_t>("~").find("missing"), std::string::npos);
}

TEST(Config, AMistypedKeyIsNamedWhereTheRightOneIsMissing) {
  Config config = parse("name: a\nseeed: 1\nthreads: 2\n");
  config.get<std::string>("name");
  EXPECT_EQ(message_of<InputError>([&] { config.get<std::int64_t>("seed"); }),
            "run.yaml:2: seeed: unknown key; did you mean \"seed\"?");
  // One that something else has asked for is no slip.
  Config other = parse("name: a\nseeds: 1\n");
  other.get<std::int64_t>("seeds");
  EXPECT_EQ(message_of<InputError>([&] { other.get<std::int64_t>("seed"); }),
            "run.yaml: seed: missing; it has no default");
}

TEST(Config, UnknownKeyNamesLinePathAndNearest) {
  Config config = parse("seed: 1\nstages:\n  - name: a\n    data:\n      mixtrue: {web: 1}\n");
  config.get<std::int64_t>("seed");
  std::vector<Config> stages = config.list("stages");
  for (Config& stage : stages) {
    stage.get<std::string>("name");
    stage.map("data").map("mixture");
  }
  EXPECT_EQ(message_of<InputError>([&] { config.finish(); }),
            "run.yaml:5: stages[0].data.mixtrue: unknown key; did you mean \"mixture\"?");
}

TEST(Config, UnknownKeyFarFromAllListsThem) {
  Config config = parse("seed: 1\nbananas: 2\n");
  config.get<std::int64_t>("seed");
  config.get<std::string>("name", "x");
  EXPECT_EQ(message_of<InputError>([&] { config.finish(); }),
            "run.yaml:2: bananas: unknown key; known here are name, seed");
  Config nothing = parse("model: {a: 1}\n");
  nothing.map("model");
  EXPECT_EQ(message_of<InputError>([&] { nothing.finish(); }),
            "run.yaml:1: model.a: unknown key; nothing is expected here");
}

TEST(Config, FinishOfAPartLooksOnlyThere) {
  Config config = parse("a: {x: 1}\nb: {y: 1}\n");
  Config a = config.map("a");
  a.get<std::int64_t>("x");
  a.finish();
  EXPECT_THROW(config.finish(), InputError);
}

TEST(Config, DefaultsAreWrittenIntoTheDocument) {
  Config config = parse("# a run\nmodel: {preset: griffin-10m}\nmixture: {web: 0.5}\n");
  config.map("model").get<std::string>("preset");
  config.map("model").get<std::int64_t>("width", 256);
  config.map("mixture").entries<double>();
  config.get<std::string>("name", "true");
  config.get<std::string>("empty", "");
  config.get<double>("epsilon", 1e-8);
  config.get<bool>("fresh", false);
  config.get<std::vector<std::string>>("tasks", {"mmlu", "12"});
  config.map("optimizer").get<double>("beta1", 0.9);
  config.map("nothing");
  const std::string text = config.resolved();
  EXPECT_EQ(text,
            "model:\n  preset: griffin-10m\n  width: 256\nmixture:\n  web: 0.5\n"
            "name: \"true\"\nempty: \"\"\nepsilon: 1e-08\nfresh: false\ntasks: [mmlu, \"12\"]\n"
            "optimizer:\n  beta1: 0.9\nnothing: {}\n");
  // What was resolved resolves to itself.
  Config again = Config::parse(text, "again");
  EXPECT_EQ(again.map("model").get<std::int64_t>("width", 1), 256);
  EXPECT_EQ(again.get<std::string>("name", "x"), "true");
  EXPECT_EQ(again.get<double>("epsilon", 1.0), 1e-8);
  EXPECT_EQ(again.resolved(), text);
}

TEST(Config, NullIsAbsent) {
  Config config = parse("a:\nb: ~\nc: null\n");
  EXPECT_FALSE(config.has("a"));
  EXPECT_EQ(config.get<std::int64_t>("b", 3), 3);
  EXPECT_EQ(config.map("c").get<std::int64_t>("d", 4), 4);
  config.finish();
  EXPECT_EQ(config.resolved(), "a: ~\nb: 3\nc:\n  d: 4\n");
}

TEST(Config, FreeKeysKeepTheirOrder) {
  Config config =
      parse("mixture: {web: 0.6, math: 0.2, code: 0.2}\nlimit: {mmlu: 5}\nevery: end\n");
  EXPECT_EQ(config.map("mixture").keys(), (std::vector<std::string>{"web", "math", "code"}));
  EXPECT_EQ(config.map("mixture").entries<double>(),
            (Pairs{{"web", 0.6}, {"math", 0.2}, {"code", 0.2}}));
  EXPECT_FALSE(config.is_scalar("limit"));
  EXPECT_TRUE(config.is_scalar("every"));
  EXPECT_FALSE(config.is_scalar("none"));
  EXPECT_EQ(config.map("limit").entries<std::int64_t>()[0].second, 5);
  EXPECT_EQ(config.get<std::string>("every"), "end");
  config.finish();
}

TEST(Config, ListsOfMaps) {
  Config config = parse("stages:\n- {name: a}\n- {name: b}\nwrong: [1]\nscalar: 3\n");
  std::vector<Config> stages = config.list("stages");
  ASSERT_EQ(stages.size(), 2u);
  EXPECT_EQ(stages[1].get<std::string>("name"), "b");
  EXPECT_TRUE(config.list("absent").empty());
  EXPECT_EQ(message_of<InputError>([&] { config.list("wrong"); }),
            "run.yaml:4: wrong[0]: \"1\" is not a map (key: value)");
  EXPECT_EQ(message_of<InputError>([&] { config.list("scalar"); }),
            "run.yaml:5: scalar: \"3\" is not a list of maps (- key: value)");
  EXPECT_EQ(message_of<InputError>([&] { config.map("scalar"); }),
            "run.yaml:5: scalar: \"3\" is not a map (key: value)");
}

TEST(Config, SetOverridesAndMakes) {
  Config config = parse("seed: 1\nstages:\n  - {name: a, steps: 5}\n  - {name: b}\nmodel:\n");
  config.set("seed=2");
  config.set("stages.0.steps=16Ki");
  config.set("stages[1].steps=7");
  config.set("model.preset=griffin-10m");
  config.set("tasks=[mmlu, piqa]");
  config.set("stages.0.data={mixture: {web: 1}}");
  config.set("empty=null");
  config.set("text=\"a=b\"");
  EXPECT_EQ(config.get<std::int64_t>("seed"), 2);
  std::vector<Config> stages = config.list("stages");
  EXPECT_EQ(stages[0].get<std::int64_t>("steps"), 16384);
  EXPECT_EQ(stages[0].map("data").map("mixture").entries<double>(), (Pairs{{"web", 1}}));
  EXPECT_EQ(stages[1].get<std::int64_t>("steps"), 7);
  EXPECT_EQ(config.map("model").get<std::string>("preset"), "griffin-10m");
  EXPECT_EQ(config.get<std::vector<std::string>>("tasks").size(), 2u);
  EXPECT_FALSE(config.has("empty"));
  EXPECT_EQ(config.get<std::string>("text"), "a=b");
}

TEST(Config, SetIntoNothingIsFoundAtTheEnd) {
  Config config = parse("stages:\n  - {name: a, steps: 5}\n");
  config.set("stages.0.stesp=9");
  Config stage = config.list("stages")[0];
  stage.get<std::string>("name");
  stage.get<std::int64_t>("steps");
  EXPECT_EQ(message_of<InputError>([&] { config.finish(); }),
            "command line: stages[0].stesp: unknown key; did you mean \"steps\"?");
}

TEST(Config, SetValueOfTheWrongTypeNamesTheCommandLine) {
  Config config = parse("seed: 1\n");
  config.set("seed=fast");
  EXPECT_EQ(message_of<InputError>([&] { config.get<std::int64_t>("seed"); }),
            "command line: seed: \"fast\" is not a whole number (12, 16Ki, 2Gi, 1e6)");
}

TEST(Config, SetRefusesImpossiblePaths) {
  Config config = parse("seed: 1\nstages:\n  - {name: a}\n");
  auto refused = [&](const std::string& assignment) {
    return message_of<InputError>([&] { config.set(assignment); });
  };
  EXPECT_EQ(refused("stages.1.name=b"),
            "command line: stages.1.name: \"1\" is not an element of stages, which has 1 (counted "
            "from 0)");
  EXPECT_NE(refused("stages.first.name=b").find("is not an element of stages"), std::string::npos);
  EXPECT_EQ(refused("seed.low=1"), "command line: seed.low: seed is \"1\", which has no \"low\"");
  EXPECT_EQ(refused("seed"), "command line: \"seed\" is not of the form key.path=value");
  EXPECT_NE(refused("=3").find("not of the form"), std::string::npos);
  EXPECT_NE(refused("a..b=3").find("an empty part"), std::string::npos);
  EXPECT_NE(refused("a=[1").find("not YAML"), std::string::npos);
}

TEST(Config, NotYamlNamesLineAndColumn) {
  const std::string message = message_of<InputError>([] { parse("a: 1\nb: [1, 2\nc: }\n"); });
  EXPECT_TRUE(message.starts_with("run.yaml:3:")) << message;
  EXPECT_NE(message.find("not YAML"), std::string::npos) << message;
  EXPECT_NE(message_of<InputError>([] { parse("a: 1\n---\nb: 2\n"); }).find("several documents"),
            std::string::npos);
  EXPECT_EQ(message_of<InputError>([] { parse("- a\n"); }),
            "run.yaml: a map (key: value) is expected, not a list");
  EXPECT_EQ(message_of<InputError>([] { parse("a: 1\nb: {c: 1, c: 2}\n"); }),
            "run.yaml:2: the key \"c\" is there twice; remove one");
  EXPECT_NE(message_of<InputError>([] { parse("[a]: 1\n"); }).find("must be a plain word"),
            std::string::npos);
}

TEST(Config, HostileDocumentsAreRefused) {
  EXPECT_THROW(parse("a: &x [*x]\n"), InputError);
  std::string bomb = "a0: &a0 [1,1,1,1,1,1,1,1,1,1]\n";
  for (int i = 1; i <= 8; ++i) {
    const std::string alias = fmt::format("*a{}", i - 1);
    bomb +=
        fmt::format("a{}: &a{} [{}]\n", i, i, fmt::join(std::vector<std::string>(10, alias), ","));
  }
  EXPECT_THROW(parse(bomb), InputError);
}

TEST(Config, WhatIsNotUtf8IsRefusedByPlace) {
  const std::string value = message_of<InputError>([] { parse("a: 1\ndata:\n  - x: d\xfc\n"); });
  EXPECT_EQ(value.substr(0, 37), "run.yaml:3: data[0].x: \"d\\xfc\" is not") << value;
  const std::string key = message_of<InputError>([] { parse("a: 1\nd\xfc: 2\n"); });
  EXPECT_EQ(key.substr(0, 26), "run.yaml:2: \"d\\xfc\" is not") << key;
  Config config = parse("a: 1");
  const std::string set = message_of<InputError>([&] { config.set("a=d\xfc"); });
  EXPECT_EQ(set.substr(0, 15), "command line: a") << set;
  EXPECT_EQ(parse("# d\xfc\na: \"d\\xfc\"").get<std::string>("a"),
            "d\xc3\xbc");  // an escape of YAML's
}

TEST(Config, AliasesAreCopies) {
  Config config = parse("a: &d {x: 1}\nb: *d\n");
  config.set("a.x=2");
  EXPECT_EQ(config.map("a").get<std::int64_t>("x"), 2);
  EXPECT_EQ(config.map("b").get<std::int64_t>("x"), 1);
}

TEST(Config, ValuesByTheirPath) {
  Config config =
      Config::parse("a: 1\nb: {c: x, d: [1, 2]}\ne: [{f: 3}, {f: 4}]\ng:\n", "run.yaml");
  config.get<std::int64_t>("h", 5);
  EXPECT_EQ(config.values(), (std::map<std::string, std::string>{{"a", "1"},
                                                                 {"b.c", "x"},
                                                                 {"b.d", "[1, 2]"},
                                                                 {"e.0.f", "3"},
                                                                 {"e.1.f", "4"},
                                                                 {"h", "5"}}));
}

TEST(Config, EmptyDocumentIsAnEmptyMap) {
  Config config = parse("# nothing\n");
  EXPECT_EQ(config.get<std::int64_t>("seed", 1), 1);
  config.finish();
  EXPECT_EQ(config.resolved(), "seed: 1\n");
}

TEST(Config, ReadNamesTheFile) {
  ScratchFolder folder;
  write_file(folder / "run.yaml", "seed: x\n");
  Config config = Config::read(folder / "run.yaml");
  EXPECT_EQ(message_of<InputError>([&] { config.get<std::int64_t>("seed"); }),
            (folder / "run.yaml").string() +
                ":1: seed: \"x\" is not a whole number (12, 16Ki, 2Gi, 1e6)");
  EXPECT_THROW(Config::read(folder / "none.yaml"), InputError);
}

TEST(Config, ErrorsOfTheCallersOwn) {
  Config config = parse("mesh:\n  data: 3\n");
  EXPECT_STREQ(config.map("mesh").error("data", "3 does not divide 8").what(),
               "run.yaml:2: mesh.data: 3 does not divide 8");
  EXPECT_STREQ(config.error("seed", "is needed").what(), "run.yaml: seed: is needed");
}

TEST(Config, PartsKeepTheDocumentAlive) {
  Config part = [] { return parse("a: {x: 1}\n").map("a"); }();
  EXPECT_EQ(part.get<std::int64_t>("x"), 1);
}

// Keys that contradict each other: the one that the command line set is the one to look at.
TEST(Config, AnErrorOfSeveralKeysBlamesTheCommandLine) {
  Config config = parse("stages:\n  - steps: 4\n    rate: {warmup: 9}\n");
  const auto message = [&] {
    return std::string(
        config.error_at({"stages.0.rate.warmup", "stages[0].steps"}, "too long").what());
  };
  EXPECT_EQ(message(), "run.yaml:3: stages[0].rate.warmup: too long");
  config.set("stages.0.steps=2");
  EXPECT_EQ(message(), "command line: stages[0].steps: too long");
}

TEST(Config, MapsThatTheCommandLineMadeAreItsOwn) {
  Config config = parse("name: a\n");
  config.set("modle.width=3");
  config.get<std::string>("name");
  config.map("model");
  EXPECT_EQ(message_of<InputError>([&] { config.finish(); }),
            "command line: modle: unknown key; did you mean \"model\"?");
}

TEST(Config, AnEmptyAssignmentIsNoValue) {
  Config config = parse("layers: RRA\n");
  EXPECT_EQ(message_of<InputError>([&] { config.set("layers="); }),
            "command line: layers: there is no value behind the =; write null for the default");
  config.set("layers=null");
  EXPECT_EQ(config.get<std::string>("layers", "R"), "R");
}

TEST(Config, ListsAreNotWrittenWithCommasAlone) {
  EXPECT_EQ(refusal<std::vector<std::string>>("piqa, mmlu"),
            "run.yaml:1: x: \"piqa, mmlu\" is one text with a comma in it; a list is written "
            "[piqa, mmlu]");
  EXPECT_EQ(parse("x: \"a,b\"").get<std::vector<std::string>>("x"),
            std::vector<std::string>{"a,b"});
}

TEST(Config, MergeKeysAreNamed) {
  EXPECT_EQ(message_of<InputError>([] { parse("a: &a {x: 1}\nb:\n  <<: *a\n"); }),
            "run.yaml:3: merge keys (<<) are not read: write the keys out, or use an alias (*name) "
            "for a whole value");
}

}  // namespace
}  // namespace eyrie::base
