// What lies at a place, and whose tokenizer it is.
#include "checkpoint/model_place.h"

#include <gtest/gtest.h>

#include <limits>

#include "base/error.h"
#include "checkpoint/format.h"
#include "checkpoint/open_model.h"
#include "checkpoint/open_weights.h"
#include "model/weights/hugging_face_writer.h"
#include "model/weights/initial_weights.h"
#include "support/scratch_folder.h"

namespace eyrie::checkpoint {
namespace {

using base::InputError;
using test::message_of;

const std::string kSmall = EYRIE_SOURCE_DIR "/data/tokenizers/small.model";
const std::string kOther = EYRIE_SOURCE_DIR "/tests/fixtures/tokenizer/test_model.model";
constexpr const char* kNothing = "nothing was thrown";

TEST(ModelPlace, IsOneOfItsKinds) {
  const test::ScratchFolder folder;
  EXPECT_EQ(model_place(folder.path()), ModelPlace::kNone);
  EXPECT_EQ(model_place(folder / "nowhere"), ModelPlace::kNone);
  const std::pair<const char*, ModelPlace> kinds[] = {{"manifest.json", ModelPlace::kCheckpoint},
                                                      {"checkpoints", ModelPlace::kRun},
                                                      {"run.yaml", ModelPlace::kRun},
                                                      {"config.json", ModelPlace::kHuggingFace}};
  for (const auto& [one, place] : kinds) {
    const base::Path here = folder / (std::string("of-") + one);
    base::make_directories(here);
    base::write_file(here / one, "x");
    EXPECT_EQ(model_place(here), place);
    EXPECT_EQ(model_place(here / one), ModelPlace::kFile);
    for (const auto& [other, other_place] : kinds) {
      if (std::string(other) == one) continue;
      base::write_file(here / other, "x");
      if (other_place == place) {
        EXPECT_EQ(model_place(here), place);
        std::filesystem::remove(here / other);
        continue;
      }
      const std::string message = message_of<InputError>([&] { model_place(here); });
      EXPECT_NE(message.find(here.string() + ": it holds "), std::string::npos) << message;
      for (const char* name : {one, other})
        EXPECT_NE(message.find(std::string(name) + " ("), std::string::npos) << message;
      // Every command that takes a model says so.
      EXPECT_EQ(message_of<InputError>([&] { open_model(here, {}); }), message);
      EXPECT_EQ(message_of<InputError>([&] { open_weights(here, {}); }), message);
      std::filesystem::remove(here / other);
    }
  }
}

TEST(CheckTokenizer, ByHashElseBySize) {
  const auto bytes = text::open_tokenizer("bytes");
  const auto message = [&](std::int64_t vocabulary, const std::string& hash, bool other) {
    return message_of<InputError>(
        [&] { check_tokenizer(*bytes, "bytes", "models/m", vocabulary, hash, other); });
  };
  for (const bool other : {false, true}) {
    for (const char* hash : {"", "bytes", "aaaa"})
      EXPECT_NE(message(257, hash, other)
                    .find("models/m: the tokenizer bytes has 258 pieces, the "
                          "model a vocabulary of 257"),
                std::string::npos);
  }
  EXPECT_EQ(message(256'000, "bytes", false), kNothing);  // its own, whatever the table's size
  EXPECT_NE(message(258, "aaaa", false).find("(hash aaaa) than bytes (hash bytes)"),
            std::string::npos);
  EXPECT_EQ(message(258, "aaaa", true), kNothing);
  for (const std::int64_t padded : {258, 264, 320, 512, 1024, 258 + 1024})
    EXPECT_EQ(message(padded, "", false), kNothing) << padded;
  for (const std::int64_t nonsense : {258 + 1025, 8192, 256'000}) {
    EXPECT_NE(message(nonsense, "", false).find("it cannot be the model's"), std::string::npos);
    EXPECT_EQ(message(nonsense, "", true), kNothing);
  }
  const auto small = text::open_tokenizer(kSmall);  // 8,192 pieces: an eighth more is the same
  check_tokenizer(*small, kSmall, "m", 8192 + 1024, "", false);
}

model::GriffinConfig tiny(std::int64_t vocabulary) {
  model::GriffinConfig config = model::preset("griffin-10m");
  config.vocabulary = vocabulary;
  config.width = config.rnn_width = config.mlp_width = 16;
  config.heads = config.gate_blocks = 2;
  config.layers = "RA";
  config.window = 7;
  return config;
}

class Directories : public testing::Test {
 protected:
  // A directory with a tokenizer, or without one; with the hash in config.json, or without it.
  base::Path write(const std::string& name, std::int64_t vocabulary, const std::string& tokenizer,
                   bool with_hash) {
    OpenedWeights opened;
    opened.weights = std::make_unique<model::InitialWeights>(tiny(vocabulary), 1);
    if (!tokenizer.empty()) add_tokenizer(tokenizer, opened);
    model::write_hugging_face(*opened.weights, folder_ / name,
                              {.tokens = opened.tokens,
                               .tokenizer_hash = with_hash ? opened.tokenizer_hash : std::string(),
                               .files = opened.files});
    return folder_ / name;
  }
  static std::string opening(const base::Path& path, const OpenModelOptions& options) {
    return message_of<InputError>([&] { open_model(path, options); });
  }
  static std::string copying(const base::Path& path, const OpenWeightsOptions& options) {
    return message_of<InputError>([&] { open_weights(path, options); });
  }
  test::ScratchFolder folder_;
};

TEST_F(Directories, TakeTheirOwnTokenizerAlone) {
  const base::Path known = write("known", 9000, kSmall, true);
  const base::Path unknown = write("unknown", 9000, kSmall, false);
  const base::Path bytes = write("bytes", 9000, "bytes", true);
  const base::Path none = write("none", 9000, "", false);
  for (const base::Path& path : {known, unknown}) {
    EXPECT_EQ(opening(path, {}), kNothing);
    EXPECT_EQ(copying(path, {}), kNothing);
    EXPECT_EQ(opening(path, {.tokenizer = kSmall}), kNothing);
    for (const std::string& other : {kOther, std::string("bytes")}) {
      EXPECT_NE(opening(path, {.tokenizer = other}).find("the model's tokenizer is another"),
                std::string::npos);
      EXPECT_NE(copying(path, {.tokenizer = other}).find("the model's tokenizer is another"),
                std::string::npos);
      EXPECT_EQ(opening(path, {.tokenizer = other, .other_tokenizer = true}), kNothing);
      EXPECT_EQ(copying(path, {.tokenizer = other, .other_tokenizer = true}), kNothing);
      EXPECT_EQ(opening(path, {.tokenizer = other, .any_tokenizer = true}), kNothing);
    }
  }
  // A model of bytes has no file; its configuration says whose it is, whatever its table's size.
  EXPECT_EQ(opening(bytes, {.tokenizer = "bytes"}), kNothing);
  EXPECT_NE(opening(bytes, {.tokenizer = kSmall}).find("the model's tokenizer is another"),
            std::string::npos);
  // Nothing is known: the sizes decide.
  EXPECT_EQ(opening(none, {.tokenizer = kSmall}), kNothing);
  EXPECT_NE(opening(none, {.tokenizer = "bytes"}).find("more than a table is padded by"),
            std::string::npos);
  EXPECT_NE(copying(none, {.tokenizer = "bytes"}).find("more than a table is padded by"),
            std::string::npos);
  // The file beside the weights exchanged.
  std::filesystem::copy_file(kOther, known / "tokenizer.model",
                             std::filesystem::copy_options::overwrite_existing);
  EXPECT_NE(opening(known, {}).find("the model's tokenizer is another"), std::string::npos);
  EXPECT_NE(copying(known, {}).find("the model's tokenizer is another"), std::string::npos);
  std::filesystem::copy_file(kOther, unknown / "tokenizer.model",
                             std::filesystem::copy_options::overwrite_existing);
  EXPECT_NE(opening(unknown, {}).find("more than a table is padded by"), std::string::npos);
}

TEST_F(Directories, TellsAnotherTokenizerJsonApart) {
  const base::Path path = write("m", 8192, kSmall, true);
  base::write_file(path / "tokenizer.json", R"({"model": {"vocab": {"a": 0, "b": 1}}})");
  for (const std::string& message : {opening(path, {}), copying(path, {})}) {
    EXPECT_NE(message.find("tokenizer.model and "), std::string::npos) << message;
    EXPECT_NE(message.find("tokenizer.json are of different vocabularies"), std::string::npos);
  }
  EXPECT_EQ(opening(path, {.tokenizer = kSmall}), kNothing);  // said
}

// The hash goes on from directory to directory.
TEST_F(Directories, KeepWhoseTokenizerItIs) {
  const base::Path from = write("from", 9000, kSmall, false);
  const OpenedWeights opened = open_weights(from, {});
  model::write_hugging_face(*opened.weights, folder_ / "to",
                            {.tokenizer_hash = opened.tokenizer_hash, .files = opened.files});
  EXPECT_EQ(model::read_tokenizer_hash(folder_ / "to"), text::open_tokenizer(kSmall)->hash());
  EXPECT_EQ(model::read_tokenizer_hash(from), "");
}

TEST(CheckpointRanges, OnlyThoseInsideOfTheirTensorsFit) {
  constexpr std::int64_t kHuge = std::int64_t{1} << 40;
  EXPECT_TRUE(fits({{0, 1}, {2, 3}, 1, 5}, {4, 6}));
  EXPECT_TRUE(fits({{4, 0}, {0, 6}, 0, 0}, {4, 6}));
  EXPECT_FALSE(fits({{0, 4}, {2, 3}, 0, 6}, {4, 6}));
  EXPECT_FALSE(fits({{-1, 0}, {2, 3}, 0, 6}, {4, 6}));
  EXPECT_FALSE(fits({{0, 0}, {2, -3}, 0, 0}, {4, 6}));
  EXPECT_FALSE(fits({{0, 0}, {2, 3}, -1, 6}, {4, 6}));
  EXPECT_FALSE(fits({{0, 0}, {2, 3}, 1, 6}, {4, 6}));
  EXPECT_FALSE(fits({{0}, {2}, 0, 2}, {4, 6}));
  EXPECT_FALSE(fits({{std::numeric_limits<std::int64_t>::max(), 0}, {4, 6}, 0, 24}, {4, 6}));
  // Shapes whose elements 63 bits cannot count: a product that wraps to 0, to 24.
  EXPECT_FALSE(fits({{0, 0}, {kHuge, kHuge}, 0, 0}, {kHuge, kHuge}));
  EXPECT_FALSE(is_shape({kHuge, kHuge}));
  EXPECT_FALSE(is_shape({0, kHuge, kHuge}));
  EXPECT_FALSE(is_shape({4, -6}));
  EXPECT_TRUE(is_shape({}));
  EXPECT_TRUE(is_shape({0, 5}));
}

}  // namespace
}  // namespace eyrie::checkpoint
