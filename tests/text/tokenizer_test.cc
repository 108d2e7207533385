// Tokenizers: bytes, and SentencePiece against what its own command line gives; damaged files are
// refused.
#include "text/tokenizer.h"

#include <gtest/gtest.h>

#include <thread>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "support/scratch_folder.h"

namespace eyrie::text {
namespace {

using base::InputError;
using test::message_of;
using test::ScratchFolder;
using Ids = std::vector<std::int32_t>;

const std::string kModel = EYRIE_SOURCE_DIR "/tests/fixtures/tokenizer/test_model.model";

TEST(BytesTokenizer, IsTheBytes) {
  const auto bytes = open_tokenizer("bytes");
  EXPECT_EQ(bytes->size(), 258);
  EXPECT_EQ(bytes->bos(), 256);
  EXPECT_EQ(bytes->eos(), 257);
  EXPECT_EQ(bytes->hash(), "bytes");
  EXPECT_EQ(bytes->encode(""), Ids{});
  std::string all;
  for (int i = 0; i < 256; ++i) all += static_cast<char>(i);
  const Ids ids = bytes->encode(all);
  ASSERT_EQ(ids.size(), 256u);
  EXPECT_EQ(ids[0], 0);
  EXPECT_EQ(ids[255], 255);
  EXPECT_EQ(bytes->decode(ids), all);
  EXPECT_EQ(bytes->decode({256, 'h', 'i', 257}), "hi");
  EXPECT_EQ(bytes->piece('A'), "<0x41>");
  EXPECT_EQ(bytes->piece(256), "<s>");
  EXPECT_THROW(bytes->decode({258}), InputError);
  EXPECT_THROW(bytes->piece(-1), InputError);
}

TEST(SentencePiece, KnowsItsModel) {
  const auto tokenizer = open_tokenizer(kModel);
  EXPECT_EQ(tokenizer->size(), 1000);
  EXPECT_EQ(tokenizer->bos(), 1);
  EXPECT_EQ(tokenizer->eos(), 2);
  EXPECT_EQ(tokenizer->piece(0), "<unk>");
  EXPECT_EQ(tokenizer->piece(4), "\xe2\x96\x81");
  EXPECT_EQ(tokenizer->hash(), "769baf45060b777b");
  EXPECT_EQ(tokenizer->hash(), base::hex(base::hash_text(base::read_file(kModel))));
}

TEST(SentencePiece, EncodesAsItsCommandLine) {
  // spm_encode --output_format=id
  const auto tokenizer = open_tokenizer(kModel);
  EXPECT_EQ(tokenizer->encode("Hello world."), (Ids{151, 88, 21, 887, 6}));
  EXPECT_EQ(tokenizer->encode("  two  spaces "), (Ids{213, 273, 19, 135, 8}));
  EXPECT_EQ(tokenizer->encode("\xc3\xbcn\xc3\xaf"
                              "c\xc3\xb6"
                              "d\xc3\xa9 \xe6\x97\xa5 \xf0\x9f\xa6\x85"),
            (Ids{4, 0, 24, 0, 28, 0, 17, 0, 4, 0, 4, 0}));
  EXPECT_EQ(tokenizer->encode(""), Ids{});
  EXPECT_EQ(tokenizer->encode(" "), Ids{});
}

TEST(SentencePiece, AddsNothing) {
  const auto tokenizer = open_tokenizer(kModel);
  for (const std::int32_t id : tokenizer->encode("Hello </s> <s> world.")) {
    EXPECT_NE(id, tokenizer->bos());
    EXPECT_NE(id, tokenizer->eos());
  }
}

TEST(SentencePiece, DecodesWhatItEncoded) {
  const auto tokenizer = open_tokenizer(kModel);
  const std::string text = "I saw a girl with a telescope.";
  EXPECT_EQ(tokenizer->decode(tokenizer->encode(text)), text);
  EXPECT_EQ(tokenizer->decode({}), "");
  EXPECT_EQ(tokenizer->decode({1, 151, 88, 21, 2}),
            tokenizer->decode({151, 88, 21}));  // control pieces have no text
  EXPECT_THROW(tokenizer->decode({1000}), InputError);
  EXPECT_THROW(tokenizer->decode({-1}), InputError);
  EXPECT_EQ(message_of<InputError>([&] { tokenizer->piece(4000); }),
            "token 4000 is not one of the 1000 of the tokenizer " + kModel);
}

TEST(SentencePiece, BytesThatAreNotUtf8BecomeUnknown) {
  const auto tokenizer = open_tokenizer(kModel);
  EXPECT_EQ(tokenizer->encode("a\xff\xfe"
                              "b"),
            (Ids{11, 0, 66}));
  for (const std::string& text : {std::string("\xf0\x9f\xa6"),         // a character cut off
                                  std::string("\x80"),                 // a continuation alone
                                  std::string("\xc0\x80"),             // an overlong zero
                                  std::string("\xed\xa0\x80"),         // half a surrogate pair
                                  std::string("\xf4\x90\x80\x80")}) {  // beyond Unicode
    EXPECT_EQ(tokenizer->encode(text), (Ids{4, 0})) << text;
  }
  const std::string zero("a\0b", 3);
  EXPECT_EQ(tokenizer->encode(zero).front(), tokenizer->encode("a").front());
  EXPECT_EQ(tokenizer->encode("\xef\xbc\xa1"), tokenizer->encode("A"));  // full width, by NFKC
}

TEST(SentencePiece, ThreadsShareIt) {
  const auto tokenizer = open_tokenizer(kModel);
  const Ids expected = tokenizer->encode("I saw a girl with a telescope.");
  std::vector<int> wrong(4);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 200; ++i) {
        wrong[t] += tokenizer->encode("I saw a girl with a telescope.") != expected;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  for (const int count : wrong) EXPECT_EQ(count, 0);
}

class DamagedModel : public testing::Test {
 protected:
  std::string refusal(const std::string& contents) {
    base::write_file(folder_ / "x.model", contents);
    return message_of<InputError>([&] { open_tokenizer(folder_ / "x.model"); });
  }
  ScratchFolder folder_;
  const std::string model_ = base::read_file(kModel);
};

TEST_F(DamagedModel, NamesTheFileAndWhatToGive) {
  const std::string message = refusal("this is no model at all");
  EXPECT_NE(message.find("x.model: not a SentencePiece model"), std::string::npos) << message;
  EXPECT_NE(message.find("give a SentencePiece model (.model) or \"bytes\""), std::string::npos);
  EXPECT_NE(refusal("").find("the file is empty"), std::string::npos);
  EXPECT_NE(message_of<InputError>([&] {
              open_tokenizer(folder_ / "none.model");
            }).find("none.model: No such file"),
            std::string::npos);
  EXPECT_NE(message_of<InputError>([&] { open_tokenizer(folder_.path()); }).find("is a directory"),
            std::string::npos);
}

TEST_F(DamagedModel, EveryTruncationIsRefused) {
  // The pieces end near byte 13,000; a step of one there meets the borders between them too.
  for (std::size_t length = 1; length < model_.size(); length += length < 600 ? 1 : 4999) {
    const std::string message = refusal(model_.substr(0, length));
    EXPECT_NE(message.find("x.model: "), std::string::npos) << length << ": " << message;
    EXPECT_TRUE(message.find("cut off") != std::string::npos ||
                message.find("not a SentencePiece model") != std::string::npos)
        << length << ": " << message;
  }
}

TEST_F(DamagedModel, FlippedBytesNeverCrash) {
  std::size_t refused = 0;
  for (std::size_t i = 0; i < 200; ++i) {
    std::string damaged = model_;
    damaged[i % 2 == 0 ? i : i * 1261 % model_.size()] ^= static_cast<char>(1 << i % 8);
    base::write_file(folder_ / "x.model", damaged);
    try {
      open_tokenizer(folder_ / "x.model")->encode("Hello world.");
    } catch (const InputError&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, 20u);
}

}  // namespace
}  // namespace eyrie::text
