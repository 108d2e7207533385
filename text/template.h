// The small language of task files: "Question: {goal}\nAnswer:" put together with the fields of a
// document.
//
// {path} is a field of the document: name, name.name, name[0]. {path|filter|filter} passes it
// through filters, from left to right. {{ and }} are braces. A filter is one of
//   strip lstrip rstrip lower capitalize    as Python's str has them
//   spaces                                  underscores become spaces
//   before:X  after:X                       what stands before, or behind, the first X
//   all_but_last_word  last_word            words are what single spaces part
//   hellaswag                               what HellaSwag's authors' texts are cleared of
//   (docs/evaluation.md)
// On a list, a filter works on each element.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "text/value.h"

namespace eyrie::text {

// Immutable; thread-safe.
class Template {
 public:
  Template() = default;
  // InputError: a brace that is not closed, an unknown filter (names the nearest). `place` begins
  // every message.
  Template(std::string_view source, const std::string& place);

  // InputError: no such field (names those that are there), not a text.
  std::string render(const Value& document) const;
  // A template that is one {…} which names a list: its elements. Any other: the one text that it
  // renders to.
  std::vector<std::string> render_list(const Value& document) const;

 private:
  struct Filter {
    std::string name, argument;
  };
  struct Part {
    std::string literal;  // where path is empty
    std::string path;
    std::vector<Filter> filters;
  };
  const Value& look_up(const Part& part, const Value& document) const;
  std::string filtered(const Part& part, std::string text) const;

  std::string place_;
  std::vector<Part> parts_;
};

}  // namespace eyrie::text
