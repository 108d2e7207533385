// Long texts are encoded in pieces: the same tokens as in one go, for every tokenizer that Eyrie
// ships and for variants of them that normalize in other ways.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sentencepiece_processor.h>

#include <random>

#include "base/file.h"
#include "support/scratch_folder.h"
#include "text/cut_rule.h"
#include "text/tokenizer.h"

namespace eyrie::text {
namespace {

using Ids = std::vector<int>;
using test::message_of;
using testing::HasSubstr;

const std::string kSmall = EYRIE_SOURCE_DIR "/data/tokenizers/small.model";
const std::string kMistral = EYRIE_SOURCE_DIR "/tests/fixtures/eval/tokenizer.model";
const std::string kUnigram = EYRIE_SOURCE_DIR "/tests/fixtures/tokenizer/test_model.model";

// More fields of a model, behind its file: the last of each counts.
std::string part(int number, const std::string& fields) {
  return static_cast<char>(number << 3 | 2) + std::string(1, static_cast<char>(fields.size())) +
         fields;
}
std::string flag(int number, int value) {
  return {static_cast<char>(number << 3), static_cast<char>(value)};
}
std::string piece(const std::string& text, int type) {
  return part(1, part(1, text) + std::string("\x15\0\0\0\0", 5) + flag(3, type));
}
const std::string kBpe = part(2, flag(3, 2));
const std::string kNoPrefix = part(3, flag(3, 0)), kPrefix = part(3, flag(3, 1));
const std::string kKeepBlanks = part(3, flag(4, 0)), kRemoveBlanks = part(3, flag(4, 1));

struct Model {
  explicit Model(const std::string& bytes) : rule(parse_sentencepiece_model(bytes).value()) {
    EXPECT_TRUE(processor.LoadFromSerializedProto(bytes).ok());
  }
  Ids whole(const std::string& text) const {
    Ids ids;
    EXPECT_TRUE(processor.Encode(text, &ids).ok());
    return ids;
  }
  // Cut at every place where that is allowed.
  Ids in_pieces(const std::string& text) {
    const std::string before(rule.before());
    const std::size_t border = whole(before).size();
    Ids all;
    for (std::size_t begin = 0; begin < text.size();) {
      const std::size_t end = rule.next(text, begin + 1);
      const std::string piece = text.substr(begin, end - begin);
      const Ids ids = whole(begin == 0 ? piece : before + piece);
      all.insert(all.end(), ids.begin() + static_cast<std::ptrdiff_t>(begin == 0 ? 0 : border),
                 ids.end());
      cuts += end < text.size();
      begin = end;
    }
    return all;
  }
  std::string random_text(std::mt19937& random) const {
    const char* const parts[] = {" ",
                                 " ",
                                 "\n",
                                 "\n",
                                 "  ",
                                 "\n\n",
                                 "\r\n",
                                 "\t",
                                 " \n ",
                                 "\xE2\x96\x81",
                                 "x",
                                 "word",
                                 "Word",
                                 "don't",
                                 "3.14",
                                 ";",
                                 ")",
                                 "\xEF\xAC\x81",
                                 "A\xCC\x8A",
                                 "\xCC\x81",
                                 "\xC2\xA8",
                                 "\xE3\x80\x80",
                                 "\xEF\xBC\xA1",
                                 "\xC2\xA0",
                                 "\xE6\x97\xA5\xE6\x9C\xAC",
                                 "\xF0\x9F\xA6\x85",
                                 "\xE2\x80\x8B",
                                 "\xC2\xAD",
                                 "\xFF",
                                 "\xED\xA0",
                                 "e\xCC\x81",
                                 "\x01",
                                 "<s>",
                                 "</s>",
                                 ">"};
    std::string text;
    for (unsigned n = 1 + random() % 60; n > 0; --n) {
      if (random() % 2 == 0) {
        text += parts[random() % std::size(parts)];
        continue;
      }
      // A piece of the vocabulary: what might be joined across a cut is most likely one of these.
      std::string own = processor.IdToPiece(static_cast<int>(random() % processor.GetPieceSize()));
      for (std::size_t at = own.find("\xE2\x96\x81"); at != own.npos; at = own.find("\xE2\x96\x81"))
        own.replace(at, 3, " ");
      text += own;
    }
    return text;
  }

  sentencepiece::SentencePieceProcessor processor;
  CutRule rule;
  std::int64_t cuts = 0;
};

void expect_the_same(const std::string& bytes, const std::string& what, int texts = 1500) {
  Model model(bytes);
  std::mt19937 random(11);
  for (int i = 0; i < texts; ++i) {
    const std::string text = model.random_text(random);
    ASSERT_EQ(model.in_pieces(text), model.whole(text)) << what << ": " << text;
  }
  EXPECT_GT(model.cuts, texts) << what;
}

TEST(CutRule, GivesTheTokensOfTheWhole) {
  for (const std::string& file : {kSmall, kMistral}) {
    const std::string bytes = base::read_file(file);
    expect_the_same(bytes, file);
    expect_the_same(bytes + kPrefix + kRemoveBlanks, file + " that removes blanks");
    expect_the_same(bytes + kNoPrefix + kRemoveBlanks, file + " that removes blanks, no prefix");
  }
}

TEST(CutRule, HoldsUnderNormalizersAndOddPieces) {
  // Merges by the scores of another model's pieces: they are other tokens, but BPE's.
  const std::string bytes = base::read_file(kUnigram) + kBpe;
  for (const std::string& prefix : {kPrefix, kNoPrefix})
    for (const std::string& blanks : {kKeepBlanks, kRemoveBlanks})
      expect_the_same(bytes + prefix + blanks, "NFKC");
  // Pieces that join what lies on both sides of a place: there it is no place to cut.
  constexpr int kNormal = 1, kUserDefined = 4;
  const std::string odd = piece("d\xE2\x96\x81", kNormal) + piece("\n", kNormal) +
                          piece("\n\n", kUserDefined) + piece(";\nx", kUserDefined) +
                          piece(")\n", kNormal) + piece("3\n", kNormal);
  expect_the_same(bytes + odd + kKeepBlanks, "NFKC with odd pieces");
  expect_the_same(base::read_file(kSmall) + odd, "bytes with odd pieces");
}

TEST(CutRule, IsNowhereWhereItIsNotProved) {
  const auto anywhere = [](const std::string& bytes) {
    const CutRule rule(parse_sentencepiece_model(bytes).value());
    const std::string text = "two words\nand a line";
    return rule.next(text, 1) < text.size();
  };
  const std::string bytes = base::read_file(kSmall);
  constexpr int kUnused = 5, kUnigramModel = 1;
  EXPECT_TRUE(anywhere(bytes));
  EXPECT_FALSE(anywhere(base::read_file(kUnigram)));
  EXPECT_FALSE(anywhere(bytes + part(2, flag(3, kUnigramModel))));
  EXPECT_FALSE(anywhere(bytes + piece("qqqqq", kUnused)));
  EXPECT_FALSE(anywhere(bytes + part(2, std::string("\xC0\x01\x01", 3))));  // blanks as suffixes
}

TEST(LongText, IsEncodedInPiecesAsInOne) {
  for (const std::string& file : {kSmall, kMistral}) {
    Model model(base::read_file(file));
    std::mt19937 random(5);
    std::string text;
    while (text.size() < 150'000) text += model.random_text(random) + " ordinary words.\n";
    EXPECT_EQ(open_tokenizer(file)->encode(text), model.whole(text));
  }
}

TEST(LongText, IsRefusedWhereItCannotBeCut) {
  const std::string run(50'000, 'a');
  const auto small = open_tokenizer(kSmall), unigram = open_tokenizer(kUnigram);
  EXPECT_EQ(small->encode(run).size(), small->encode(run, 50'000).size());
  EXPECT_THAT(message_of<UncutText>([&] { small->encode("some words " + run, 40'000); }),
              testing::AllOf(HasSubstr("bytes without a place where"), HasSubstr(kSmall),
                             HasSubstr("more than the 40000"), HasSubstr("largest_piece")));
  std::string words;
  while (words.size() < 50'000) words += "some words\n";
  EXPECT_EQ(small->encode(words, 40'000), small->encode(words));
  EXPECT_THROW(unigram->encode(words, 40'000), UncutText);
  EXPECT_EQ(open_tokenizer("bytes")->encode(run, 1).size(), run.size());
}

}  // namespace
}  // namespace eyrie::text
