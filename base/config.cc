// Configuration over yaml-cpp. The parsed document is copied into a tree of our own, which keeps
// order, lines and which keys were read; yaml-cpp's nodes would share and change under the reader's
// hands.
#include "base/config.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <optional>
#include <set>
#include <utility>

#include <fmt/format.h>

namespace eyrie::base {

struct Config::Node {
  enum class Kind { kNull, kScalar, kList, kMap };

  Kind kind = Kind::kNull;
  std::string scalar;
  bool quoted = false;                          // a text, whatever it looks like
  std::vector<std::unique_ptr<Node>> children;  // of lists and maps, in file order

  Node* parent = nullptr;
  std::string key;     // in a map
  std::size_t at = 0;  // in a list
  int line = 0;        // 0: not from the file
  bool from_command_line = false;
  bool known = false;
  std::set<std::string> asked;  // of a map: the keys that were asked for, there or not
  std::string document;         // of the root: its name

  Node* find(const std::string& name) const {
    for (const auto& child : children) {
      if (kind == Kind::kMap && child->key == name) return child.get();
    }
    return nullptr;
  }

  Node* add(const std::string& name) {
    EYRIE_CHECK(kind == Kind::kMap, "a key can only be added to a map");
    children.push_back(std::make_unique<Node>());
    children.back()->parent = this;
    children.back()->key = name;
    return children.back().get();
  }

  const Node* root() const {
    const Node* node = this;
    while (node->parent != nullptr) node = node->parent;
    return node;
  }

  std::string path() const {
    if (parent == nullptr) return "";
    std::string up = parent->path();
    if (parent->kind == Kind::kList) return fmt::format("{}[{}]", up, at);
    return up.empty() ? key : up + "." + key;
  }

  // "run.yaml:12" or "command line".
  std::string place() const {
    for (const Node* node = this; node != nullptr; node = node->parent) {
      if (node->from_command_line) return "command line";
      if (node->line > 0) return fmt::format("{}:{}", root()->document, node->line);
    }
    return root()->document;
  }

  void mark_all_known() {
    known = true;
    for (const auto& child : children) child->mark_all_known();
  }
};

namespace {

constexpr int kMaxDepth = 100;
constexpr std::size_t kMaxNodes = 1'000'000;  // aliases of aliases can unfold without end

template <class Node>
struct Copier {
  const std::string& document;
  bool from_command_line;
  std::size_t count = 0;

  void copy(const YAML::Node& from, Node& to, int depth) {
    to.line = from_command_line ? 0 : from.Mark().line + 1;
    to.from_command_line = from_command_line;
    if (depth > kMaxDepth || ++count > kMaxNodes) {
      throw InputError(
          fmt::format("{}: nested too deeply or an alias that contains itself", to.place()));
    }
    if (from.IsScalar()) {
      to.kind = Node::Kind::kScalar;
      to.scalar = from.Scalar();
      to.quoted = from.Tag() == "!" || from.Tag() == "tag:yaml.org,2002:str";
    } else if (from.IsSequence()) {
      to.kind = Node::Kind::kList;
      for (std::size_t i = 0; i < from.size(); ++i) {
        to.children.push_back(std::make_unique<Node>());
        to.children.back()->parent = &to;
        to.children.back()->at = i;
        copy(from[i], *to.children.back(), depth + 1);
      }
    } else if (from.IsMap()) {
      to.kind = Node::Kind::kMap;
      for (const auto& entry : from) {
        const std::string place = from_command_line
                                      ? "command line"
                                      : fmt::format("{}:{}", document, entry.first.Mark().line + 1);
        if (!entry.first.IsScalar()) throw InputError(place + ": a key must be a plain word");
        const std::string& key = entry.first.Scalar();
        if (to.find(key) != nullptr) {
          throw InputError(
              fmt::format("{}: the key \"{}\" is there twice; remove one", place, key));
        }
        Node* child = to.add(key);
        copy(entry.second, *child, depth + 1);
        if (!from_command_line) child->line = entry.first.Mark().line + 1;
      }
    }
  }
};

YAML::Node load(std::string_view text, const std::string& name) {
  try {
    std::vector<YAML::Node> documents = YAML::LoadAll(std::string(text));
    if (documents.size() > 1) {
      throw InputError(name + ": holds several documents (---); one is expected");
    }
    return documents.empty() ? YAML::Node() : documents[0];
  } catch (const YAML::Exception& error) {
    throw InputError(fmt::format("{}:{}:{}: not YAML: {}", name, error.mark.line + 1,
                                 error.mark.column + 1, error.msg));
  }
}

std::optional<double> parse_double(std::string_view text) {
  if (text.starts_with('+')) text.remove_prefix(1);
  double unit = 1;
  for (const auto& [suffix, value] :
       {std::pair{"Ki", 0x1p10}, {"Mi", 0x1p20}, {"Gi", 0x1p30}, {"Ti", 0x1p40}}) {
    if (text.ends_with(suffix)) {
      text.remove_suffix(2);
      unit = value;
      break;
    }
  }
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value)) {
    return std::nullopt;
  }
  return value * unit;
}

std::optional<std::int64_t> parse_integer(std::string_view text) {
  if (text.starts_with('+')) text.remove_prefix(1);
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc() && end == text.data() + text.size()) return value;
  // 16Ki, 1e6, 1.5Mi: through a double, as long as it holds the number exactly.
  const std::optional<double> number = parse_double(text);
  if (!number || std::floor(*number) != *number || std::abs(*number) > 0x1p53) return std::nullopt;
  return static_cast<std::int64_t>(*number);
}

std::optional<bool> parse_bool(std::string_view text) {
  if (text == "true" || text == "True" || text == "TRUE") return true;
  if (text == "false" || text == "False" || text == "FALSE") return false;
  return std::nullopt;
}

bool looks_like_text(const std::string& text) {
  return !text.empty() && text != "~" && text != "null" && !parse_bool(text) && !parse_double(text);
}

template <class T>
struct Type;
template <>
struct Type<std::string> {
  static constexpr const char* kExpected = "one text";
  static std::optional<std::string> parse(const std::string& text) { return text; }
  static std::string print(const std::string& value) { return value; }
};
template <>
struct Type<std::int64_t> {
  static constexpr const char* kExpected = "a whole number (12, 16Ki, 2Gi, 1e6)";
  static std::optional<std::int64_t> parse(const std::string& text) { return parse_integer(text); }
  static std::string print(std::int64_t value) { return fmt::format("{}", value); }
};
template <>
struct Type<double> {
  static constexpr const char* kExpected = "a number";
  static std::optional<double> parse(const std::string& text) { return parse_double(text); }
  static std::string print(double value) { return fmt::format("{}", value); }
};
template <>
struct Type<bool> {
  static constexpr const char* kExpected = "true or false";
  static std::optional<bool> parse(const std::string& text) { return parse_bool(text); }
  static std::string print(bool value) { return value ? "true" : "false"; }
};

// What a node holds, for messages.
template <class Node>
std::string describe(const Node& node) {
  switch (node.kind) {
    case Node::Kind::kNull:
      return "nothing";
    case Node::Kind::kScalar:
      return fmt::format("\"{}\"", node.scalar);
    case Node::Kind::kList:
      return "a list";
    case Node::Kind::kMap:
      return "a map";
  }
  return "";
}

template <class Node>
InputError node_error(const Node& node, const std::string& message) {
  const std::string path = node.path();
  return InputError(path.empty() ? fmt::format("{}: {}", node.place(), message)
                                 : fmt::format("{}: {}: {}", node.place(), path, message));
}

template <class T, class Node>
T read_scalar(const Node& node) {
  if (node.kind == Node::Kind::kScalar) {
    if (auto value = Type<T>::parse(node.scalar)) return *value;
  }
  throw node_error(node, fmt::format("{} is not {}", describe(node), Type<T>::kExpected));
}

template <class T, class Node>
T read_value(Node& node) {
  node.mark_all_known();
  if constexpr (std::is_same_v<T, std::vector<std::string>>) {
    std::vector<std::string> values;
    if (node.kind == Node::Kind::kScalar) return {node.scalar};
    if (node.kind != Node::Kind::kList) {
      throw node_error(node, describe(node) + " is not a list of texts");
    }
    for (const auto& child : node.children) values.push_back(read_scalar<std::string>(*child));
    return values;
  } else {
    return read_scalar<T>(node);
  }
}

template <class T, class Node>
void write_value(Node& node, const T& value) {
  node.known = true;
  if constexpr (std::is_same_v<T, std::vector<std::string>>) {
    node.kind = Node::Kind::kList;
    for (const std::string& text : value) {
      node.children.push_back(std::make_unique<Node>());
      node.children.back()->parent = &node;
      node.children.back()->at = node.children.size() - 1;
      write_value(*node.children.back(), text);
    }
  } else {
    node.kind = Node::Kind::kScalar;
    node.scalar = Type<T>::print(value);
    if constexpr (std::is_same_v<T, std::string>) node.quoted = !looks_like_text(value);
  }
}

template <class Node>
bool only_scalars(const Node& node) {
  return std::all_of(node.children.begin(), node.children.end(),
                     [](const auto& child) { return child->kind == Node::Kind::kScalar; });
}

template <class Node>
void emit(YAML::Emitter& out, const Node& node) {
  switch (node.kind) {
    case Node::Kind::kNull:
      out << YAML::Null;
      break;
    case Node::Kind::kScalar:
      if (node.quoted) out << YAML::DoubleQuoted;
      out << node.scalar;
      break;
    case Node::Kind::kList:
      if (only_scalars(node)) out << YAML::Flow;
      out << YAML::BeginSeq;
      for (const auto& child : node.children) emit(out, *child);
      out << YAML::EndSeq;
      break;
    case Node::Kind::kMap:
      if (node.children.empty()) out << YAML::Flow;
      out << YAML::BeginMap;
      for (const auto& child : node.children) {
        out << YAML::Key << child->key << YAML::Value;
        emit(out, *child);
      }
      out << YAML::EndMap;
      break;
  }
}

template <class Node>
void check_all_known(const Node& node) {
  for (const auto& child : node.children) {
    if (node.kind == Node::Kind::kMap && !child->known) {
      const std::vector<std::string> candidates(node.asked.begin(), node.asked.end());
      const std::string near = nearest(child->key, candidates);
      throw node_error(
          *child, !near.empty() ? fmt::format("unknown key; did you mean \"{}\"?", near)
                  : candidates.empty()
                      ? std::string("unknown key; nothing is expected here")
                      : fmt::format("unknown key; known here are {}", fmt::join(candidates, ", ")));
    }
    check_all_known(*child);
  }
}

// "stages.0.steps" or "stages[0].steps", cut at its dots.
std::vector<std::string> split_path(std::string path) {
  std::vector<std::string> parts(1);
  for (const char c : path) {
    if (c == '.' || c == '[') {
      parts.emplace_back();
    } else if (c != ']') {
      parts.back() += c;
    }
  }
  return parts;
}

}  // namespace

Config Config::read(const Path& path) { return parse(read_file(path), path.string()); }

Config Config::parse(std::string_view text, const std::string& name) {
  Config config;
  config.node_ = std::make_shared<Node>();
  config.node_->document = name;
  config.node_->known = true;
  const YAML::Node document = load(text, name);
  Copier<Node>{name, false}.copy(document, *config.node_, 0);
  config.node_->line = 0;  // what is missing at the top is missing everywhere, not in line 1
  if (config.node_->kind == Node::Kind::kNull) config.node_->kind = Node::Kind::kMap;
  if (config.node_->kind != Node::Kind::kMap) {
    throw InputError(
        fmt::format("{}: a map (key: value) is expected, not {}", name, describe(*config.node_)));
  }
  return config;
}

void Config::set(const std::string& assignment) {
  const std::size_t equals = assignment.find('=');
  if (equals == std::string::npos || equals == 0) {
    throw InputError(
        fmt::format("command line: \"{}\" is not of the form key.path=value", assignment));
  }
  const std::string path = assignment.substr(0, equals);
  auto refuse = [&](const std::string& message) {
    throw InputError(fmt::format("command line: {}: {}", path, message));
  };
  Node* node = node_.get();
  for (const std::string& part : split_path(path)) {
    if (part.empty()) refuse("an empty part in the path");
    if (node->kind == Node::Kind::kNull) node->kind = Node::Kind::kMap;
    if (node->kind == Node::Kind::kMap) {
      Node* child = node->find(part);
      node = child != nullptr ? child : node->add(part);
    } else if (node->kind == Node::Kind::kList) {
      std::size_t index = 0;
      const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), index);
      if (error != std::errc() || end != part.data() + part.size() ||
          index >= node->children.size()) {
        refuse(fmt::format("\"{}\" is not an element of {}, which has {} (counted from 0)", part,
                           node->path(), node->children.size()));
      }
      node = node->children[index].get();
    } else {
      refuse(fmt::format("{} is {}, which has no \"{}\"", node->path(), describe(*node), part));
    }
  }
  const YAML::Node value = load(assignment.substr(equals + 1), "command line: " + path);
  node->kind = Node::Kind::kNull;
  node->scalar.clear();
  node->quoted = false;
  node->children.clear();
  Copier<Node>{path, true}.copy(value, *node, 0);
}

bool Config::has(const std::string& key) const {
  node_->asked.insert(key);
  Node* child = node_->find(key);
  if (child == nullptr) return false;
  child->known = true;
  return child->kind != Node::Kind::kNull;
}

Config Config::map(const std::string& key) {
  const bool there = has(key);
  Node* child = node_->find(key);
  if (child == nullptr) child = node_->add(key);
  child->known = true;
  if (!there) child->kind = Node::Kind::kMap;
  if (child->kind != Node::Kind::kMap) {
    throw node_error(*child, describe(*child) + " is not a map (key: value)");
  }
  Config config;
  config.node_ = std::shared_ptr<Node>(node_, child);  // keeps the whole document alive
  return config;
}

std::vector<Config> Config::list(const std::string& key) {
  std::vector<Config> elements;
  if (!has(key)) return elements;
  Node* list = node_->find(key);
  if (list->kind != Node::Kind::kList) {
    throw node_error(*list, describe(*list) + " is not a list of maps (- key: value)");
  }
  for (const auto& child : list->children) {
    if (child->kind != Node::Kind::kMap) {
      throw node_error(*child, describe(*child) + " is not a map (key: value)");
    }
    child->known = true;
    elements.emplace_back();
    elements.back().node_ = std::shared_ptr<Node>(node_, child.get());
  }
  return elements;
}

std::vector<std::string> Config::keys() const {
  std::vector<std::string> names;
  for (const auto& child : node_->children) names.push_back(child->key);
  return names;
}

template <class T>
T Config::get(const std::string& key) {
  if (!has(key)) {
    // A slip of the pen is to be told as that, where it is.
    for (const auto& child : node_->children) {
      if (!child->known && !nearest(child->key, {key}).empty())
        throw node_error(*child, fmt::format("unknown key; did you mean \"{}\"?", key));
    }
    throw error(key, "missing; it has no default");
  }
  return read_value<T>(*node_->find(key));
}

template <class T>
T Config::get(const std::string& key, const T& fallback) {
  if (has(key)) return read_value<T>(*node_->find(key));
  Node* child = node_->find(key);
  if (child == nullptr) child = node_->add(key);
  write_value(*child, fallback);
  return fallback;
}

template <class T>
std::vector<std::pair<std::string, T>> Config::entries() {
  std::vector<std::pair<std::string, T>> result;
  for (const std::string& key : keys()) result.emplace_back(key, get<T>(key));
  return result;
}

bool Config::is_scalar(const std::string& key) const {
  const Node* child = node_->find(key);
  return child != nullptr && child->kind == Node::Kind::kScalar;
}

InputError Config::error(const std::string& key, const std::string& message) const {
  if (const Node* child = node_->find(key)) return node_error(*child, message);
  const std::string path = node_->path();
  return InputError(
      fmt::format("{}: {}{}{}: {}", node_->place(), path, path.empty() ? "" : ".", key, message));
}

void Config::finish() const { check_all_known(*node_); }

std::string Config::resolved() const {
  YAML::Emitter out;
  emit(out, *node_);
  return std::string(out.c_str()) + "\n";
}

std::string Config::name() const { return node_->root()->document; }

#define EYRIE_CONFIG_TYPE(T)                               \
  template T Config::get<T>(const std::string&);           \
  template T Config::get<T>(const std::string&, const T&); \
  template std::vector<std::pair<std::string, T>> Config::entries<T>();

EYRIE_CONFIG_TYPE(std::string)
EYRIE_CONFIG_TYPE(std::int64_t)
EYRIE_CONFIG_TYPE(double)
EYRIE_CONFIG_TYPE(bool)
EYRIE_CONFIG_TYPE(std::vector<std::string>)

}  // namespace eyrie::base
