// Parsing and rendering of task templates.
#include "text/template.h"

#include <fmt/format.h>

#include <charconv>
#include <functional>
#include <map>

#include "base/error.h"
#include "text/python_string.h"

namespace eyrie::text {
namespace {

// Texts that were taken from how-to pages contain marks in brackets: a title becomes the start of a
// sentence, the other marks are removed. The ends are stripped first, so that a space beside a
// removed mark is kept.
std::string hellaswag(std::string_view text) {
  const std::string marked = replace_all(strip(text), " [title]", ". ");
  std::string cleared;
  std::size_t at = 0;
  while (at < marked.size()) {
    // A mark does not extend over a line break.
    const std::size_t end = marked[at] == '[' ? marked.find_first_of("]\n", at) : std::string::npos;
    if (end != std::string::npos && marked[end] == ']') {
      at = end + 1;
    } else {
      cleared += marked[at++];
    }
  }
  return replace_all(cleared, "  ", " ");
}

using Apply = std::function<std::string(std::string_view text, const std::string& argument)>;

struct Known {
  bool has_argument;
  Apply apply;
};

const std::map<std::string, Known>& known_filters() {
  using View = std::string_view;
  using Text = const std::string&;
  static const std::map<std::string, Known> kKnown = {
      {"strip", {false, [](View t, Text) { return std::string(strip(t)); }}},
      {"lstrip", {false, [](View t, Text) { return std::string(lstrip(t)); }}},
      {"rstrip", {false, [](View t, Text) { return std::string(rstrip(t)); }}},
      {"lower", {false, [](View t, Text) { return lower(t); }}},
      {"capitalize", {false, [](View t, Text) { return capitalize(t); }}},
      {"spaces", {false, [](View t, Text) { return replace_all(t, "_", " "); }}},
      {"hellaswag", {false, [](View t, Text) { return hellaswag(t); }}},
      {"before", {true, [](View t, Text mark) { return std::string(t.substr(0, t.find(mark))); }}},
      {"after",
       {true,
        [](View t, Text mark) {
          const std::size_t found = t.find(mark);
          return found == View::npos ? std::string() : std::string(t.substr(found + mark.size()));
        }}},
      {"all_but_last_word",
       {false,
        [](View t, Text) {
          const std::size_t space = t.rfind(' ');
          return space == View::npos ? std::string() : std::string(t.substr(0, space));
        }}},
      {"last_word",
       {false,
        [](View t, Text) {
          const std::size_t space = t.rfind(' ');
          return space == View::npos ? std::string(t) : std::string(t.substr(space + 1));
        }}},
  };
  return kKnown;
}

std::vector<std::string> split(const std::string& text, char at) {
  std::vector<std::string> parts(1);
  for (const char c : text) {
    if (c == at) {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

}  // namespace

Template::Template(std::string_view source, const std::string& place) : place_(place) {
  std::string literal;
  const auto end_literal = [&] {
    if (!literal.empty()) parts_.push_back({literal, "", {}});
    literal.clear();
  };
  const auto refuse = [&](const std::string& problem) {
    throw base::InputError(fmt::format("{}: \"{}\": {}", place, source, problem));
  };
  for (std::size_t at = 0; at < source.size(); ++at) {
    const char c = source[at];
    if ((c == '{' || c == '}') && at + 1 < source.size() && source[at + 1] == c) {
      literal += c;
      ++at;
      continue;
    }
    if (c == '}') refuse("a } without its {; a brace that is meant is written twice");
    if (c != '{') {
      literal += c;
      continue;
    }
    end_literal();
    const std::size_t close = source.find('}', at);
    if (close == std::string_view::npos) {
      refuse("a { without its }; a brace that is meant is written twice");
    }
    const std::vector<std::string> words =
        split(std::string(source.substr(at + 1, close - at - 1)), '|');
    if (words[0].empty()) refuse("{} names no field");
    Part part{"", words[0], {}};
    for (std::size_t i = 1; i < words.size(); ++i) {
      const std::size_t colon = words[i].find(':');
      Filter filter{words[i].substr(0, colon),
                    colon == std::string::npos ? "" : words[i].substr(colon + 1)};
      const auto known = known_filters().find(filter.name);
      if (known == known_filters().end()) {
        std::vector<std::string> names;
        for (const auto& [name, unused] : known_filters()) names.push_back(name);
        const std::string near = base::nearest(filter.name, names);
        refuse(near.empty()
                   ? fmt::format("unknown filter \"{}\"; known are {}", filter.name,
                                 fmt::join(names, ", "))
                   : fmt::format("unknown filter \"{}\"; did you mean \"{}\"?", filter.name, near));
      }
      if (known->second.has_argument != !filter.argument.empty()) {
        refuse(known->second.has_argument
                   ? fmt::format("the filter {0} needs a text, as in {0}:_", filter.name)
                   : fmt::format("the filter {} takes no text", filter.name));
      }
      part.filters.push_back(std::move(filter));
    }
    parts_.push_back(std::move(part));
    at = close;
  }
  end_literal();
}

const Value& Template::look_up(const Part& part, const Value& document) const {
  const Value* value = &document;
  // "a.b[0]" is the field a, in it the field b, in that the first element.
  for (const std::string& word : split(replace_all(part.path, "[", ".["), '.')) {
    if (word.starts_with('[')) {
      std::size_t index = 0;
      const auto [end, error] = std::from_chars(word.data() + 1, word.data() + word.size(), index);
      const auto* list = value->get<Value::List>();
      if (error != std::errc() || std::string_view(end) != "]" || list == nullptr ||
          index >= list->size()) {
        throw base::InputError(fmt::format(
            "{}: {{{}}}: no element {}, there is {}{}", place_, part.path, word, value->kind(),
            list != nullptr ? fmt::format(" of {}", list->size()) : std::string()));
      }
      value = &(*list)[index];
      continue;
    }
    const Value* field = value->find(word);
    if (field == nullptr) {
      std::vector<std::string> names;
      if (const auto* map = value->get<Value::Map>()) {
        for (const auto& [name, unused] : *map) names.push_back(name);
      }
      throw base::InputError(
          fmt::format("{}: {{{}}}: the document has no field \"{}\"; {}", place_, part.path, word,
                      names.empty() ? "there is " + value->kind()
                                    : fmt::format("it has {}", fmt::join(names, ", "))));
    }
    value = field;
  }
  return *value;
}

std::string Template::filtered(const Part& part, std::string text) const {
  for (const Filter& filter : part.filters) {
    text = known_filters().at(filter.name).apply(text, filter.argument);
  }
  return text;
}

std::string Template::render(const Value& document) const {
  std::string result;
  for (const Part& part : parts_) {
    if (part.path.empty()) {
      result += part.literal;
    } else {
      result += filtered(
          part, look_up(part, document).as_text(fmt::format("{}: {{{}}}", place_, part.path)));
    }
  }
  return result;
}

std::vector<std::string> Template::render_list(const Value& document) const {
  if (parts_.size() == 1 && !parts_[0].path.empty()) {
    if (const auto* list = look_up(parts_[0], document).get<Value::List>()) {
      std::vector<std::string> texts;
      for (const Value& one : *list) {
        texts.push_back(filtered(parts_[0], one.as_text(fmt::format("{}: an element of {{{}}}",
                                                                    place_, parts_[0].path))));
      }
      return texts;
    }
  }
  return {render(document)};
}

}  // namespace eyrie::text
