// The small language of task files: "Question: {goal}\nAnswer:" is filled in with the fields of a
// document.
//
// {path} is a field of the document: name, name.name, name[0]. {path|filter|filter} passes it
// through filters, from left to right. {{ and }} are braces. A filter is one of
//   strip lstrip rstrip lower capitalize    as Python's str has them
//   spaces                                  underscores become spaces
//   before:X  after:X                       the text before, or after, the first X
//   all_but_last_word  last_word            words are separated by single spaces
//   hellaswag                               removes the markup of HellaSwag's source texts
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
  // Throws InputError for a brace that is not closed or an unknown filter (names the nearest).
  // `place` begins every message.
  Template(std::string_view source, const std::string& place);

  // Throws InputError if a field does not exist (names those that do) or is not a text.
  std::string render(const Value& document) const;
  // If the template is one {…} that names a list, returns its elements; otherwise the one text that
  // it renders to.
  std::vector<std::string> render_list(const Value& document) const;

 private:
  struct Filter {
    std::string name, argument;
  };
  struct Part {
    std::string literal;  // if path is empty
    std::string path;
    std::vector<Filter> filters;
  };
  const Value& look_up(const Part& part, const Value& document) const;
  std::string filtered(const Part& part, std::string text) const;

  std::string place_;
  std::vector<Part> parts_;
};

}  // namespace eyrie::text
