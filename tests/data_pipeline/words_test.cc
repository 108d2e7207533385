#include "data_pipeline/words.h"

#include <gtest/gtest.h>

#include "data_pipeline/quality.h"

namespace eyrie::data_pipeline {
namespace {

float score_of(std::string_view text, std::int64_t tokens) {
  DocumentWords words;
  scan_document(text, words);
  return quality_score(text, words.split, tokens);
}

std::string deleted(std::string_view text) { return normalised(text, Punctuation::kDelete); }
std::string split(std::string_view text) { return normalised(text, Punctuation::kSplit); }

TEST(Words, LowerCasedWithoutPunctuation) {
  EXPECT_EQ(deleted("  Hello,\tWORLD!\n\n(again) "), "hello world again");
  EXPECT_EQ(deleted("well-known e.g. 1,000 -- don't"), "wellknown eg 1000 dont");
  EXPECT_EQ(split("well-known end,begin -- don't 3.14"), "well known end begin dont 3 14");
  EXPECT_EQ(deleted(""), "");
  EXPECT_EQ(deleted(" ?!… "), "");
}

TEST(Words, BeyondAscii) {
  EXPECT_EQ(deleted("ÉTÉ “quoted” don’t naïve—word"), "été quoted dont naïveword");
  EXPECT_EQ(split("naïve—word ΑΒΓ"), "naïve word αβγ");
  EXPECT_EQ(deleted("a\u00A0b\u3000c\u200Bd\u00ADe"),
            "a b cde");  // blanks of other kinds; invisible characters
  EXPECT_EQ(deleted("a\xFF"
                    "b"),
            "a b");  // not UTF-8
}

TEST(Words, HashesAndPlacesFollowTheWords) {
  Words words;
  const std::string text = " One, TWO—one";
  split_words(text, Punctuation::kSplit, words);
  ASSERT_EQ(words.hashes.size(), 3u);
  EXPECT_EQ(words.begins, (std::vector<std::uint32_t>{1, 6, 12}));
  EXPECT_EQ(words.hashes[0], words.hashes[2]);
  EXPECT_NE(words.hashes[0], words.hashes[1]);
  split_words("a bc 12 3d é éa", Punctuation::kDelete, words);
  EXPECT_EQ(words.verbal, (std::vector<std::uint8_t>{0, 1, 0, 1, 0, 1}));
}

TEST(Words, EqualDocumentsHaveEqualHashes) {
  EXPECT_EQ(document_hash("A cat, a hat."), document_hash("a CAT  a\nhat"));
  EXPECT_NE(document_hash("A cat, a hat."), document_hash("A cat, a bat."));
  EXPECT_NE(document_hash("?!"), document_hash("!?"));  // no words: the text itself
}

TEST(Words, OneScanFindsAllThatIsAsked) {
  DocumentWords all;
  for (const std::string text :
       {"", "?!", "A cat, a hat.", "well-known end,begin -- don't 3.14", "naïve—word ΑΒΓ\u200B d",
        "a\xFF b", "x", " lines\nof\ttext; and-so on"}) {
    scan_document(text, all);
    for (const Punctuation way : {Punctuation::kDelete, Punctuation::kSplit}) {
      Words words;
      split_words(text, way, words);
      EXPECT_EQ(all.of(way).hashes, words.hashes) << text;
      EXPECT_EQ(all.of(way).begins, words.begins) << text;
      EXPECT_EQ(all.of(way).verbal, words.verbal) << text;
    }
    EXPECT_EQ(all.hash, document_hash(text)) << text;
  }
}

TEST(Quality, OrdersDocumentsAsTheRuleSays) {
  std::string prose;
  for (int i = 0; i < 100; ++i) prose += "word" + std::to_string(i) + " is here ";
  const float good = score_of(prose, static_cast<std::int64_t>(prose.size()) / 5);
  std::string boilerplate;
  for (int i = 0; i < 100; ++i) boilerplate += "click here to go on ";
  EXPECT_GT(good, 0.5f);
  EXPECT_LE(good, 1.0f);
  EXPECT_LT(score_of(boilerplate, static_cast<std::int64_t>(boilerplate.size()) / 5), 0.1f);
  EXPECT_LT(score_of(prose, static_cast<std::int64_t>(prose.size())),
            good / 2);  // one token per byte
  EXPECT_LT(score_of("two words", 2), 0.1f);
  EXPECT_EQ(score_of("", 0), 0.0f);
  EXPECT_EQ(score_of("?!", 2), 0.0f);
}

}  // namespace
}  // namespace eyrie::data_pipeline
