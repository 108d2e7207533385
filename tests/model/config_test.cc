// Presets against the published sizes and the specification's counts, what a configuration refuses,
// and its way through YAML and JSON.
#include "model/config.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <tuple>

#include "model/griffin.h"

namespace eyrie::model {
namespace {

struct Counts {
  std::int64_t all, without_embedding;
};

// From the units themselves: what training allocates.
Counts counts_of(const GriffinConfig& config) {
  const Griffin griffin(config);
  const std::int64_t all = parameter_count(griffin.units());
  return {all, all - griffin.units().front().parameters.front().count()};
}

std::int64_t without_embedding(const std::string& name) {
  return counts_of(preset(name)).without_embedding;
}

TEST(Presets, RecurrentGemmaHasThePublishedCounts) {
  const Counts small = counts_of(preset("recurrentgemma-2b"));
  EXPECT_EQ(small.all, 2'682'862'080);
  EXPECT_EQ(small.without_embedding, 2'027'502'080);
  const Counts large = counts_of(preset("recurrentgemma-9b"));
  EXPECT_EQ(large.all, 8'579'977'216);
  EXPECT_EQ(large.without_embedding, 7'531'401'216);
}

TEST(Presets, RecurrentGemmaHasThePublishedBlocks) {
  for (const auto& [name, recurrent, attention] :
       {std::tuple{"recurrentgemma-2b", 80'005'120, 73'425'920},
        std::tuple{"recurrentgemma-9b", 203'505'664, 186'687'488}}) {
    const Griffin griffin(preset(name));
    EXPECT_EQ(parameter_count({griffin.units()[1]}), recurrent) << name;
    EXPECT_EQ(parameter_count({griffin.units()[3]}), attention) << name;
  }
}

// Sizes of the Griffin paper, 16 gate blocks, without embedding.
TEST(Presets, PaperSizesHaveTheSpecifiedCounts) {
  struct Row {
    const char* size;
    std::int64_t mqa, hawk, griffin;
  };
  for (const Row& row : {Row{"100m", 80'308'992, 93'801'216, 89'303'808},
                         Row{"200m", 141'681'664, 173'716'480, 163'038'208},
                         Row{"400m", 316'331'520, 374'773'248, 355'292'672},
                         Row{"1.3b", 1'120'372'736, 1'304'225'792, 1'242'941'440},
                         Row{"3b", 2'511'031'296, 2'996'456'448, 2'834'648'064},
                         Row{"7b", 5'940'449'280, 7'176'425'472, 6'790'182'912},
                         Row{"14b", 11'588'817'920, 14'811'223'040, 13'763'941'376}}) {
    const std::string size = row.size;
    EXPECT_EQ(without_embedding("mqa-" + size), row.mqa) << size;
    EXPECT_EQ(without_embedding("local-" + size), row.mqa) << size;  // the window has no weights
    EXPECT_EQ(without_embedding("hawk-" + size), row.hawk) << size;
    EXPECT_EQ(without_embedding("griffin-" + size), row.griffin) << size;
  }
}

// The repository's own presets of the paper's 7B have as many gate blocks as heads.
TEST(Presets, RepositorySevenBIsAnOverride) {
  for (const auto& [name, count] :
       {std::pair{"hawk-7b", 7'112'986'624}, std::pair{"griffin-7b", 6'746'568'704}}) {
    GriffinConfig config = preset(name);
    config.gate_blocks = config.heads;
    EXPECT_EQ(counts_of(config).without_embedding, count) << name;
  }
}

TEST(Presets, SmallSizes) {
  const Counts ten = counts_of(preset("griffin-10m"));
  EXPECT_NEAR(ten.all * 1e-6, 6.9, 0.05);
  EXPECT_NEAR(ten.without_embedding * 1e-6, 4.8, 0.05);
  const Counts sixty = counts_of(preset("griffin-60m"));
  EXPECT_NEAR(sixty.all * 1e-6, 42.0, 0.05);
  EXPECT_NEAR(sixty.without_embedding * 1e-6, 25.2, 0.05);
  const GriffinConfig config = preset("griffin-10m");
  EXPECT_EQ(config.vocabulary, 8192);
  EXPECT_EQ(config.width, 256);
  EXPECT_EQ(config.rnn_width, 256);
  EXPECT_EQ(config.layers, "RRARRA");
  EXPECT_EQ(config.heads, 4);
  EXPECT_EQ(config.gate_blocks, 4);
  EXPECT_EQ(config.window, 1024);
}

// Every preset by the closed formula, with V, D, R, E, head dimension and gate blocks of its own.
TEST(Presets, AllFollowTheFormula) {
  EXPECT_EQ(preset_names().size(), 2u + 4u * 9u);
  for (const std::string& name : preset_names()) {
    const GriffinConfig c = preset(name);
    const std::int64_t d = c.width, r = c.rnn_width, e = c.mlp_width;
    EXPECT_EQ(e, 3 * d) << name;
    const std::int64_t shared = 3 * d * e + 2 * e + d + 2 * d;  // MLP and two norms
    const std::int64_t recurrent = 3 * d * r + 2 * r * r / c.gate_blocks + 10 * r + d;
    const std::int64_t attention = 2 * d * d + 2 * d * c.head_dim() + d;
    std::int64_t expected = c.vocabulary * d + d;
    for (std::size_t layer = 0; layer < c.layers.size(); ++layer)
      expected += shared + (c.is_attention(layer) ? attention : recurrent);
    EXPECT_EQ(counts_of(c).all, expected) << name;
    EXPECT_EQ(c.preset, name);
  }
}

TEST(Presets, PublishedSizesAndChoices) {
  for (const std::string& name : preset_names()) {
    const GriffinConfig c = preset(name);
    const bool gemma = name.starts_with("recurrentgemma");
    EXPECT_EQ(c.window, gemma ? 2048 : 1024) << name;
    EXPECT_EQ(c.soft_cap, gemma ? 30 : 0) << name;
    EXPECT_EQ(c.scale_embedding, gemma) << name;
    EXPECT_EQ(c.init, "official") << name;
    const bool small = name.ends_with("-10m") || name.ends_with("-60m");
    EXPECT_EQ(c.head_dim(), gemma ? 256 : small ? 64 : 128) << name;
    EXPECT_EQ(c.gate_blocks, gemma || small ? c.heads : 16) << name;
  }
}

TEST(Presets, LayersOfEveryFamily) {
  const auto count = [](const std::string& name, char kind) {
    const std::string layers = preset(name).layers;
    return std::count(layers.begin(), layers.end(), kind);
  };
  for (const auto& [name, recurrent, local] :
       {std::tuple{"recurrentgemma-2b", 18, 8}, std::tuple{"recurrentgemma-9b", 26, 12},
        std::tuple{"griffin-100m", 8, 4}, std::tuple{"griffin-1.3b", 16, 8},
        std::tuple{"griffin-7b", 22, 10}, std::tuple{"griffin-14b", 27, 13}}) {
    const GriffinConfig config = preset(name);
    EXPECT_EQ(count(name, 'R'), recurrent) << name;
    EXPECT_EQ(count(name, 'A'), local) << name;
    for (std::size_t layer = 0; layer < config.layers.size(); ++layer)
      EXPECT_EQ(config.is_attention(layer), layer % 3 == 2) << name << " " << layer;
  }
  EXPECT_EQ(preset("hawk-100m").layers, std::string(12, 'R'));
  EXPECT_EQ(preset("mqa-100m").layers, std::string(12, 'G'));
  EXPECT_EQ(preset("local-100m").layers, std::string(12, 'A'));
}

TEST(Presets, UnknownNamesAreRefusedWithTheNearest) {
  for (const auto& [name, near] : {std::pair{"grifin-10m", "griffin-10m"},
                                   std::pair{"recurrentgemma-2B", "recurrentgemma-2b"}}) {
    try {
      preset(name);
      ADD_FAILURE() << name;
    } catch (const base::InputError& error) {
      EXPECT_NE(std::string(error.what()).find(std::string("did you mean '") + near),
                std::string::npos)
          << error.what();
    }
  }
  for (const char* name : {"", "griffin", "griffin-", "griffin-2b", "10m", "-10m"})
    EXPECT_THROW(preset(name), base::InputError) << name;
}

// bf16(√width): the factors of the official code.
TEST(Config, EmbeddingScales) {
  for (const auto& [width, scale] :
       {std::pair{2560, 50.5f}, std::pair{4096, 64.0f}, std::pair{768, 27.75f},
        std::pair{1024, 32.0f}, std::pair{1536, 39.25f}, std::pair{2048, 45.25f},
        std::pair{3072, 55.5f}, std::pair{5120, 71.5f}}) {
    GriffinConfig config;
    config.width = width;
    EXPECT_EQ(config.embedding_scale(), 1.0f);
    config.scale_embedding = true;
    EXPECT_EQ(config.embedding_scale(), scale) << width;
  }
}

TEST(Config, ReachOfEachKindOfAttention) {
  GriffinConfig config = preset("griffin-10m");
  config.layers = "RAG";
  EXPECT_FALSE(config.is_attention(0));
  EXPECT_TRUE(config.is_attention(1));
  EXPECT_TRUE(config.is_attention(2));
  EXPECT_EQ(config.reach(1), 1024);
  EXPECT_EQ(config.reach(2), GriffinConfig::kUnlimited);
}

void expect_refused(const std::function<void(GriffinConfig&)>& change, const std::string& message) {
  GriffinConfig config = preset("griffin-10m");
  change(config);
  try {
    check(config);
    ADD_FAILURE() << "not refused: " << message;
  } catch (const base::InputError& error) {
    EXPECT_NE(std::string(error.what()).find(message), std::string::npos) << error.what();
  }
}

TEST(Config, SizesThatDoNotFitAreRefused) {
  expect_refused([](auto& c) { c.vocabulary = 0; }, "vocabulary is 0; it must be at least 1");
  expect_refused([](auto& c) { c.width = -4; }, "width is -4; it must be at least 1");
  expect_refused([](auto& c) { c.rnn_width = 0; }, "rnn_width is 0");
  expect_refused([](auto& c) { c.mlp_width = 0; }, "mlp_width is 0");
  expect_refused([](auto& c) { c.heads = 0; }, "heads is 0");
  expect_refused([](auto& c) { c.gate_blocks = 0; }, "gate_blocks is 0");
  expect_refused([](auto& c) { c.window = 0; }, "window is 0");
  expect_refused([](auto& c) { c.layers = ""; }, "layers is ''; write one letter a layer");
  expect_refused([](auto& c) { c.layers = "RRX"; }, "layers is 'RRX'");
  expect_refused([](auto& c) { c.layers = "rra"; }, "R (recurrent), A (local attention) or G");
  expect_refused([](auto& c) { c.gate_blocks = 3; }, "gate_blocks 3 does not divide rnn_width 256");
  expect_refused([](auto& c) { c.heads = 3; }, "width 256 over 3 heads");
  expect_refused([](auto& c) { c.heads = 128; }, "a head dimension that 4 divides");
  expect_refused([](auto& c) { c.soft_cap = -1; },
                 "soft_cap is -1; it must be from 0 (none) to 2^24");
  expect_refused([](auto& c) { c.init = "xavier"; }, "init is 'xavier'; use official or paper");
}

TEST(Config, JsonRoundTrip) {
  GriffinConfig config = preset("recurrentgemma-9b");
  config.vocabulary = 11;
  config.rnn_width = 48;
  config.gate_blocks = 3;
  config.mlp_width = 13;
  config.layers = "GRA";
  config.window = 5;
  config.soft_cap = 12.5;
  config.init = "paper";
  const std::string text = to_json(config);
  const GriffinConfig back = from_json(text);
  EXPECT_EQ(to_json(back), text);
  EXPECT_EQ(back.preset, "recurrentgemma-9b");
  EXPECT_EQ(back.vocabulary, 11);
  EXPECT_EQ(back.width, 4096);
  EXPECT_EQ(back.rnn_width, 48);
  EXPECT_EQ(back.gate_blocks, 3);
  EXPECT_EQ(back.mlp_width, 13);
  EXPECT_EQ(back.heads, 16);
  EXPECT_EQ(back.layers, "GRA");
  EXPECT_EQ(back.window, 5);
  EXPECT_TRUE(back.scale_embedding);
  EXPECT_EQ(back.soft_cap, 12.5);
  EXPECT_EQ(back.init, "paper");
  // Checkpoints of before the choice were initialised in the official way.
  std::string older = to_json(preset("griffin-10m"));
  const std::string init = ",\"init\":\"official\"";
  ASSERT_NE(older.find(init), std::string::npos);
  older.erase(older.find(init), init.size());
  EXPECT_EQ(from_json(older).init, "official");

  EXPECT_THROW(from_json("{}"), base::InputError);
  EXPECT_THROW(from_json("not json"), base::InputError);
  std::string misfit = text;
  misfit.replace(misfit.find("\"GRA\""), 5, "\"GRB\"");
  EXPECT_THROW(from_json(misfit), base::InputError);
}

GriffinConfig from_yaml(const std::string& text) {
  return read_model(base::Config::parse(text, "run.yaml"));
}

TEST(Config, FieldsOverrideThePreset) {
  const GriffinConfig layers = from_yaml("{preset: griffin-10m, layers: GARRG, window: 7}");
  EXPECT_EQ(layers.layers, "GARRG");
  EXPECT_EQ(layers.window, 7);
  EXPECT_EQ(layers.width, 256);
  // What follows the width follows it, unless it is named too.
  const GriffinConfig wide = from_yaml("{preset: griffin-10m, width: 512}");
  EXPECT_EQ(wide.rnn_width, 512);
  EXPECT_EQ(wide.mlp_width, 1536);
  const GriffinConfig odd = from_yaml(
      "{preset: griffin-10m, width: 20, heads: 1, rnn_width: 21, gate_blocks: 3, "
      "mlp_width: 13, soft_cap: 30, scale_embedding: true, init: paper}");
  EXPECT_EQ(odd.rnn_width, 21);
  EXPECT_EQ(odd.mlp_width, 13);
  EXPECT_EQ(odd.soft_cap, 30);
  EXPECT_TRUE(odd.scale_embedding);
  EXPECT_EQ(odd.init, "paper");
  // The RNN width of the larger presets is their own.
  EXPECT_EQ(from_yaml("{preset: griffin-100m, width: 1536, heads: 12}").rnn_width, 1024);
}

TEST(Config, RefusalsNameFileKeyAndValue) {
  for (const auto& [text, message] :
       {std::pair{"{preset: grifin-10m}", "griffin-10m"},
        std::pair{"{preset: griffin-10m, init: xavier}", "init: 'xavier' is not one of"},
        std::pair{"{preset: griffin-10m, layers: RXA}", "layers is 'RXA'"},
        std::pair{"{preset: griffin-10m, heads: 5}", "width 256 over 5 heads"}}) {
    try {
      from_yaml(text);
      ADD_FAILURE() << text;
    } catch (const base::InputError& error) {
      EXPECT_NE(std::string(error.what()).find(message), std::string::npos) << error.what();
      EXPECT_EQ(std::string(error.what()).find("run.yaml"), 0u) << error.what();
    }
  }
}

TEST(Config, TitlesSayWhatWasChanged) {
  EXPECT_EQ(title_of(preset("hawk-10m"), true), "hawk-10m");
  const GriffinConfig other = preset("hawk-10m", {"width=64", "heads=2", "layers=RAR"});
  EXPECT_EQ(title_of(other, true),
            "hawk-10m, changed: width 64, rnn_width 64, mlp_width 192, heads 2, layers RAR");
  EXPECT_EQ(title_of(other, false), "hawk-10m, changed");
  EXPECT_EQ(title_of(preset("hawk-10m", {"layers=" + std::string(60, 'R')}), true),
            "hawk-10m, changed: 60 layers");
}

}  // namespace
}  // namespace eyrie::model
