// tokenizer.json beside tokenizer.model: the same vocabulary, or refused.
#include "text/tokenizer_json.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "support/scratch_folder.h"

namespace eyrie::text {
namespace {

using nlohmann::json;

std::string message(const json& contents) {
  const test::ScratchFolder folder;
  const std::string model = EYRIE_SOURCE_DIR "/data/tokenizers/small.model";
  base::write_file(folder / "tokenizer.json",
                   contents.is_string() ? contents.get<std::string>() : contents.dump());
  const std::string text = test::message_of<base::InputError>(
      [&] { check_same_vocabulary(*open_tokenizer(model), model, folder / "tokenizer.json"); });
  if (text != "nothing was thrown") {
    EXPECT_NE(text.find((folder / "tokenizer.json").string()), std::string::npos) << text;
  }
  return text;
}

// A vocabulary as an object, or as a list with scores; among other things that a file has.
json file_of(const std::vector<std::string>& pieces, bool list) {
  json vocabulary = list ? json::array() : json::object();
  for (std::size_t id = 0; id < pieces.size(); ++id) {
    if (list) {
      vocabulary.push_back({pieces[id], -static_cast<double>(id)});
    } else {
      vocabulary[pieces[id]] = id;
    }
  }
  return {{"version", "1.0"},
          {"added_tokens", {{{"id", 1}, {"content", "<s>"}}}},
          {"vocab", {{"a", 5}}},
          {"model", {{"type", "BPE"}, {"vocab", vocabulary}, {"merges", {"a b", "c d"}}}}};
}

TEST(TokenizerJson, TheSameVocabularyOrRefused) {
  const auto tokenizer = open_tokenizer(EYRIE_SOURCE_DIR "/data/tokenizers/small.model");
  std::vector<std::string> pieces;
  for (std::int32_t id = 0; id < tokenizer->size(); ++id) pieces.push_back(tokenizer->piece(id));
  for (const bool list : {false, true}) {
    EXPECT_EQ(message(file_of(pieces, list)), "nothing was thrown");
    auto changed = pieces;
    changed[14] = "\t";                // as conversions do
    changed.emplace_back("<|tool|>");  // as fine-tuned models do
    EXPECT_EQ(message(file_of(changed, list)), "nothing was thrown");
    std::rotate(changed.begin(), changed.begin() + 1, changed.end());
    EXPECT_NE(message(file_of(changed, list)).find("different vocabularies"), std::string::npos);
    EXPECT_NE(message(file_of({"a", "b"}, list)).find("different vocabularies"), std::string::npos);
  }
  EXPECT_NE(message(json::object()).find("different vocabularies"), std::string::npos);
  EXPECT_NE(message("{").find("not JSON"), std::string::npos);
}

}  // namespace
}  // namespace eyrie::text
