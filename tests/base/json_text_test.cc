// JSON as it is written: the same verdict as another parser on whole and damaged texts, and what is
// asked for read out of it.
#include "base/json_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <random>

#include "base/file.h"
#include "support/scratch_folder.h"

namespace eyrie::base {
namespace {

using test::message_of;
using testing::HasSubstr;

bool accepts(const std::string& text) {
  try {
    JsonText::parse(text);
    return true;
  } catch (const JsonError&) {
    return false;
  }
}

TEST(JsonText, AcceptsWhatAnotherParserAccepts) {
  const std::string seeds[] = {
      R"({"text": "a \"b\" \u00e9\n", "id": 12, "more": [{}, [], [1, -2.5e+3, 0, 0.5]]})",
      R"([true, false, null, "", {"a": {"b": {"c": [[]]}}}])",
      "\t{ \"\xC3\xA9\" : \"\xE2\x82\xAC \xF0\x9F\x98\x80\" }\r\n",
      R"("\ud83d\ude00\/\b\f\t\\")",
      "-0",
      "1E5",
      "{}",
      "[]"};
  const std::string letters = "{}[]\",:\\ue+-.0123456789truefalsn \n\t\x01\x7f\xC3\xED\xA0\xF4\x90";
  std::mt19937 random(7);
  int good = 0, bad = 0;
  for (int i = 0; i < 20000; ++i) {
    std::string text = seeds[random() % std::size(seeds)];
    for (unsigned n = random() % 4; n > 0; --n) {
      const std::size_t at = random() % (text.size() + 1);
      switch (random() % 3) {
        case 0:
          text.insert(at, 1, letters[random() % letters.size()]);
          break;
        case 1:
          text.erase(at, 1 + random() % 3);
          break;
        default:
          if (at < text.size()) text[at] = letters[random() % letters.size()];
      }
    }
    bool expected = true;
    try {
      [[maybe_unused]] const auto parsed = nlohmann::json::parse(text);
    } catch (const nlohmann::json::out_of_range&) {
      continue;  // a number beyond a double, which the grammar allows
    } catch (const nlohmann::json::parse_error& error) {
      expected = false;
      // Halves of surrogate pairs are within the grammar, too.
      if (std::string(error.what()).find("surrogate") != std::string::npos) continue;
    }
    ASSERT_EQ(accepts(text), expected) << text;
    ++(expected ? good : bad);
  }
  EXPECT_GT(good, 3000);
  EXPECT_GT(bad, 3000);
}

TEST(JsonText, NumbersOfAnySizeAreNumbers) {
  for (const char* number : {"1e400", "-1e-400", "123456789012345678901234567890",
                             "18446744073709551616", "0.1e99999999999"}) {
    const std::string text = std::string("{\"id\": ") + number + " }";
    const JsonText object = JsonText::parse(text);
    EXPECT_EQ(object.find("id")->raw(), number);
    EXPECT_EQ(object.find("id")->kind(), JsonText::Kind::kNumber);
  }
  for (const char* other : {"01", "1.", ".5", "1e", "+1", "0x1", "1 2", "--1", "NaN", "Infinity"})
    EXPECT_FALSE(accepts(other)) << other;
}

TEST(JsonText, SaysWhereItIsWrong) {
  const auto at = [](const std::string& text) {
    try {
      JsonText::parse(text);
    } catch (const JsonError& error) {
      return std::pair(error.at(), std::string(error.what()));
    }
    return std::pair(std::size_t{0}, std::string("nothing is wrong"));
  };
  EXPECT_EQ(at(R"({"a": tru})").first, 6u);
  EXPECT_THAT(at(R"({"a": tru})").second, HasSubstr("a value is expected here"));
  EXPECT_EQ(at(R"({"a": 1 "b": 2})").first, 8u);
  EXPECT_EQ(at(R"({"a": "cut)").first, 10u);
  EXPECT_THAT(at(R"({"a": "cut)").second, HasSubstr("ends too early"));
  EXPECT_THAT(at(R"({"a": fal)").second, HasSubstr("ends too early"));
  EXPECT_THAT(at("").second, HasSubstr("ends too early"));
  EXPECT_EQ(at("{\"a\": \"x\ny\"}").first, 8u);
  EXPECT_EQ(at("{} {}").first, 3u);
  EXPECT_EQ(at("{\"a\": \"\xC3(\"}").second, "byte 0xC3 is not UTF-8");
}

TEST(JsonText, AnyDepthIsRefusedOrReadWithoutHarm) {
  const auto nested = [](std::size_t depth) {
    return std::string(depth, '[') + std::string(depth, ']');
  };
  EXPECT_TRUE(accepts(nested(kDeepestJson)));
  EXPECT_FALSE(accepts(nested(kDeepestJson + 1)));
  EXPECT_FALSE(accepts(std::string(10'000'000, '[')));
}

TEST(JsonText, TextsAndHalvesOfSurrogatePairs) {
  const auto text_of = [](const std::string& json, bool keep = false) {
    return JsonText::parse(json).text(keep);
  };
  EXPECT_EQ(text_of(R"("a\"\\\/\b\f\n\r\t\u0041\u00e9\u20ac\ud83d\ude00")"),
            "a\"\\/\b\f\n\r\tA\u00e9\u20ac\U0001F600");
  for (const char* half : {R"("x\ud83d")", R"("x\ude00y")", R"("x\ud83d\ud83d\ude00")",
                           R"("x\ud83d\n")", R"("x\uD83Dabc")"}) {
    try {
      text_of(half);
      FAIL() << half;
    } catch (const JsonError& error) {
      EXPECT_TRUE(error.not_utf8());
      EXPECT_EQ(error.at(), 2u);
      EXPECT_THAT(error.what(), HasSubstr("half of a surrogate pair"));
    }
  }
  EXPECT_EQ(text_of(R"("x\ud83dy")", true), "x\xED\xA0\xBDy");
}

TEST(JsonText, FindsAKeyOnceHoweverItIsWritten) {
  const std::string text = R"({"a": 1, "t\u0065xt": "found", "b": {"text": 2}, "c": 3, "c": 4})";
  const JsonText object = JsonText::parse(text);
  EXPECT_EQ(object.find("text")->text(), "found");
  EXPECT_FALSE(object.find("d").has_value());
  EXPECT_EQ(object.find("a")->raw(), "1");  // a key that nobody reads may be there twice
  EXPECT_EQ(message_of<JsonError>([&] { object.find("c"); }), "the key \"c\" is there twice");
  const std::string twice = R"({"text": "a", "te\u0078t": "b"})";
  EXPECT_THROW(JsonText::parse(twice).find("text"), JsonError);
}

TEST(ReadJsonObject, GivesATextThatEveryParserReads) {
  test::ScratchFolder folder;
  const std::string path = (folder / "config.json").string();
  write_file(
      path,
      "\xEF\xBB\xBF{\n \"a\": 1e400, \"b\": [-1e999, 1e-999, 2.50, 12345678901234567890123],\n"
      " \"c\\n\\\"\": \"x\\ud83d\\u0041\\ud83d\\ude00\", \"d\": {\"a\": null}}\n");
  const auto json = nlohmann::json::parse(read_json_object(path));
  EXPECT_EQ(json["a"], std::numeric_limits<double>::max());
  EXPECT_EQ(json["b"][0], std::numeric_limits<double>::lowest());
  EXPECT_EQ(json["b"][1], 0.0);
  EXPECT_EQ(json["b"][2], 2.5);
  EXPECT_EQ(json["c\n\""], "x\uFFFDA\U0001F600");
  EXPECT_TRUE(json["d"]["a"].is_null());

  const auto message = [&](const std::string& contents) {
    write_file(path, contents);
    return message_of<InputError>([&] { read_json_object(path); });
  };
  EXPECT_THAT(message("{\n  \"a\": 1,\n  \"a\": 2}"),
              HasSubstr("config.json:3:8: the key \"a\" is there twice"));
  EXPECT_THAT(message("{\"a\": {\"b\": 1, \"b\": 2}}"), HasSubstr("\"b\" is there twice"));
  EXPECT_THAT(message("{\n\"a\": tru}"), HasSubstr("config.json:2:6: not JSON"));
  EXPECT_THAT(message("[1]"), HasSubstr("a list, where an object"));
  EXPECT_THAT(message(""), HasSubstr("ends too early"));
  EXPECT_THAT(message(std::string("\xFF\xFE{\0}\0", 6)), HasSubstr("UTF-16 text"));
}

}  // namespace
}  // namespace eyrie::base
