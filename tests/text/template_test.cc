#include "text/template.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "support/scratch_folder.h"

namespace eyrie::text {
namespace {

const Value kDocument = parse_json(
    R"({"goal": "open a door", "n": 3, "yes": true, "x": 1.5, "none": null, "choices": {"text": ["a ", " b"], "label": [1, 2]}})",
    "t:1");

std::string render(const std::string& source) {
  return Template(source, "x.yaml: prompt").render(kDocument);
}
std::string refusal(const std::string& source) {
  return test::message_of<base::InputError>([&] { render(source); });
}

TEST(Template, PutsFieldsIntoText) {
  EXPECT_EQ(render("Question: {goal}\nAnswer:"), "Question: open a door\nAnswer:");
  EXPECT_EQ(render("{n}{yes} {x}"), "3True 1.5");
  EXPECT_EQ(render("{choices.text[1]}|{choices.label[0]}"), " b|1");
  EXPECT_EQ(render("{{goal}} }}{{"), "{goal} }{");
  EXPECT_EQ(render(""), "");
}

TEST(Template, FiltersFromLeftToRight) {
  EXPECT_EQ(render("{goal|before: a}"), "open");
  EXPECT_EQ(render("{goal|after:open|strip|capitalize}"), "A door");
  EXPECT_EQ(render("{goal|last_word}-{goal|all_but_last_word}"), "door-open a");
  EXPECT_EQ(render("{choices.text[0]|rstrip}{choices.text[1]|lstrip}"), "ab");
  EXPECT_EQ(Template("{w|spaces|lower}", "").render(parse_json(R"({"w": "High_School_US"})", "")),
            "high school us");
  EXPECT_EQ(render("{goal|after:_}"), "");  // no mark: nothing behind it
  EXPECT_EQ(render("{goal|before:_}"), "open a door");
}

TEST(Template, ListsElements) {
  using Texts = std::vector<std::string>;
  EXPECT_EQ(Template("{choices.text|strip}", "").render_list(kDocument), (Texts{"a", "b"}));
  EXPECT_EQ(Template("{choices.label}", "").render_list(kDocument), (Texts{"1", "2"}));
  EXPECT_EQ(Template("{goal}", "").render_list(kDocument), (Texts{"open a door"}));
}

TEST(Template, HellaSwagsMarksGo) {
  const auto cleared = [](const std::string& text) {
    return Template("{t|hellaswag}", "").render({Value::Map{{"t", {text}}}});
  };
  EXPECT_EQ(cleared("  How to sow [title] Dig.  [step] Now. "), "How to sow. Dig.  Now.");
  EXPECT_EQ(cleared("[substeps] Ask."), " Ask.");  // stripped before, not after
  EXPECT_EQ(cleared("a [unclosed"), "a [unclosed");
  EXPECT_EQ(cleared("a [b\nc] d"), "a [b\nc] d");  // not over a line break
  EXPECT_EQ(cleared("a[b[c]d"), "ad");
  EXPECT_EQ(cleared("a    b"), "a  b");
}

TEST(Template, RefusesWhatIsNotThere) {
  EXPECT_EQ(refusal("{gaol}"),
            "x.yaml: prompt: {gaol}: the document has no field \"gaol\"; it has goal, n, yes, x, "
            "none, choices");
  EXPECT_EQ(refusal("{choices.text[2]}"),
            "x.yaml: prompt: {choices.text[2]}: no element [2], there is a list of 2");
  EXPECT_EQ(refusal("{goal[0]}"), "x.yaml: prompt: {goal[0]}: no element [0], there is a text");
  EXPECT_EQ(refusal("{goal.x}"),
            "x.yaml: prompt: {goal.x}: the document has no field \"x\"; there is a text");
  EXPECT_EQ(refusal("{choices}"), "x.yaml: prompt: {choices} is a map, where a text is needed");
  EXPECT_EQ(refusal("{none}"), "x.yaml: prompt: {none} is nothing, where a text is needed");
}

TEST(Template, RefusesWhatIsWronglyWritten) {
  EXPECT_EQ(refusal("{goal"),
            "x.yaml: prompt: \"{goal\": a { without its }; a brace that is meant is written twice");
  EXPECT_EQ(refusal("goal}"),
            "x.yaml: prompt: \"goal}\": a } without its {; a brace that is meant is written twice");
  EXPECT_EQ(refusal("{}"), "x.yaml: prompt: \"{}\": {} names no field");
  EXPECT_EQ(
      refusal("{goal|stripp}"),
      "x.yaml: prompt: \"{goal|stripp}\": unknown filter \"stripp\"; did you mean \"strip\"?");
  EXPECT_EQ(refusal("{goal|before}"),
            "x.yaml: prompt: \"{goal|before}\": the filter before needs a text, as in before:_");
  EXPECT_EQ(refusal("{goal|strip:x}"),
            "x.yaml: prompt: \"{goal|strip:x}\": the filter strip takes no text");
}

TEST(Value, HashesEqualDocumentsAlike) {
  const auto hash = [](const char* json) { return hash_of(parse_json(json, "")); };
  EXPECT_EQ(hash(R"({"a": 1, "b": ["x"]})"), hash(R"({"b":["x"],"a":1})"));
  EXPECT_NE(hash(R"({"a": 1})"), hash(R"({"a": "1"})"));
  EXPECT_NE(hash(R"({"a": [1, 2]})"), hash(R"({"a": [2, 1]})"));
}

TEST(Value, WhatNobodyReadsDoesNoHarm) {
  const auto text = [](const std::string& json) {
    return parse_json(json, "x").find("a")->as_text("a");
  };
  EXPECT_EQ(text(R"({"a": 9223372036854775807})"), "9223372036854775807");
  EXPECT_EQ(text(R"({"a": 9223372036854775808})"), "9223372036854775808");
  EXPECT_EQ(text(R"({"a": -123456789012345678901234567890})"), "-123456789012345678901234567890");
  EXPECT_EQ(text(R"({"a": 1e400})"), "1e400");
  EXPECT_EQ(text(R"({"a": 1e-400})"), "0.0");
  EXPECT_EQ(text(R"({"a": 1.50, "b": "\ud83d", "c": [1e999]})"), "1.5");
  EXPECT_NE(hash_of(parse_json(R"({"b": "\ud83d"})", "x")), 0u);
  EXPECT_NE(test::message_of<base::InputError>([&] {
              text(R"({"a": "\ud83d"})");
            }).find("half of a surrogate pair"),
            std::string::npos);
  EXPECT_EQ(test::message_of<base::InputError>([&] { text(R"({"a": 1, "b": {"c": 1, "c": 2}})"); }),
            "x:29: the key \"c\" is there twice");
}

TEST(Value, NamesThePlaceOfBrokenJson) {
  const std::string message =
      test::message_of<base::InputError>([] { parse_json("{\"a\": ", "x.jsonl:7"); });
  EXPECT_TRUE(message.starts_with("x.jsonl:7:7: not JSON: ")) << message;
}

}  // namespace
}  // namespace eyrie::text
