// Streaming: the pieces make up the text, are whole characters, and end before the first stop text.
#include "text/streaming_detokenizer.h"

#include <gtest/gtest.h>

namespace eyrie::text {
namespace {

// A character of `text` is whole where the bytes up to it decode on their own.
bool is_utf8(const std::string& text) {
  for (std::size_t i = 0; i < text.size();) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const std::size_t length = byte < 0x80 ? 1 : byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2;
    if (byte >= 0x80 && byte < 0xc0) return false;
    for (std::size_t j = 1; j < length; ++j) {
      if (i + j >= text.size() || (static_cast<unsigned char>(text[i + j]) & 0xc0) != 0x80)
        return false;
    }
    i += length;
  }
  return true;
}

std::string stream(const Tokenizer& tokenizer, const std::string& text,
                   const std::vector<std::string>& stops, bool* stopped = nullptr) {
  StreamingDetokenizer stream(tokenizer, {}, stops);
  std::string all;
  for (const std::int32_t id : tokenizer.encode(text)) {
    const std::string piece = stream.add(id);
    EXPECT_TRUE(is_utf8(piece)) << piece;
    all += piece;
  }
  const std::string rest = stream.finish();
  EXPECT_TRUE(is_utf8(rest)) << rest;
  if (stopped != nullptr) *stopped = stream.stopped();
  return all + rest;
}

TEST(StreamingDetokenizer, PiecesMakeUpTheText) {
  const auto bytes = open_tokenizer("bytes");
  const auto pieces =
      open_tokenizer(std::string(EYRIE_SOURCE_DIR) + "/data/tokenizers/small.model");
  for (const std::string text : {"plain words", "Grüße, 世界 🦅!", "", "\n\n tabs\t", "é"}) {
    EXPECT_EQ(stream(*bytes, text, {}), text);
  }
  for (const std::string text : {"plain words", "Grüße, 世界 🦅!", "é"})
    EXPECT_EQ(stream(*pieces, text, {}), text);
}

TEST(StreamingDetokenizer, WhatIsNoCharacterIsReplacedAndACutOneIsDropped) {
  const auto bytes = open_tokenizer("bytes");
  EXPECT_EQ(stream(*bytes,
                   "a\xff"
                   "b",
                   {}),
            "a\xef\xbf\xbd"
            "b");
  EXPECT_EQ(stream(*bytes,
                   "a\xe4"
                   "b",
                   {}),
            "a\xef\xbf\xbd"
            "b");
  EXPECT_EQ(stream(*bytes, "a\xf0\x9f\xa6", {}), "a");  // an eagle without its last byte
  EXPECT_EQ(stream(*bytes, "\xe4\xb8", {}), "");
}

TEST(StreamingDetokenizer, EndsBeforeTheFirstOfItsStops) {
  const auto bytes = open_tokenizer("bytes");
  bool stopped = false;
  EXPECT_EQ(stream(*bytes, "one two three", {"three", "tw"}, &stopped), "one ");
  EXPECT_TRUE(stopped);
  EXPECT_EQ(stream(*bytes, "one two three", {"", "threeS"}, &stopped), "one two three");
  EXPECT_FALSE(stopped);  // the held-back "three" comes at the end
  EXPECT_EQ(stream(*bytes, "aaab", {"aab"}, &stopped), "a");
  EXPECT_EQ(stream(*bytes, "x🦅y", {"🦅"}, &stopped), "x");
  EXPECT_TRUE(stopped);
}

}  // namespace
}  // namespace eyrie::text
