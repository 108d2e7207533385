// Configuration on top of its tree (base/config_node.h): types, defaults, assignments from the
// command line.
#include "base/config.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/config_node.h"
#include "base/number.h"

namespace eyrie::base {
namespace {

std::optional<bool> parse_bool(std::string_view text) {
  if (text == "true" || text == "True" || text == "TRUE") return true;
  if (text == "false" || text == "False" || text == "FALSE") return false;
  return std::nullopt;
}

bool looks_like_text(const std::string& text) {
  return !text.empty() && text != "~" && text != "null" && !parse_bool(text) && !parse_number(text);
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
  static std::optional<std::int64_t> parse(const std::string& text) { return parse_whole(text); }
  static std::string print(std::int64_t value) { return fmt::format("{}", value); }
};
template <>
struct Type<double> {
  static constexpr const char* kExpected = "a number";
  static std::optional<double> parse(const std::string& text) { return parse_number(text); }
  static std::string print(double value) { return fmt::format("{}", value); }
};
template <>
struct Type<bool> {
  static constexpr const char* kExpected = "true or false";
  static std::optional<bool> parse(const std::string& text) { return parse_bool(text); }
  static std::string print(bool value) { return value ? "true" : "false"; }
};

template <class T>
T read_scalar(const ConfigNode& node) {
  if (node.kind == ConfigNode::Kind::kScalar) {
    if (auto value = Type<T>::parse(node.scalar)) return *value;
  }
  throw node.error(fmt::format("{} is not {}", node.describe(), Type<T>::kExpected));
}

template <class T>
T read_value(ConfigNode& node) {
  node.mark_all_known();
  if constexpr (std::is_same_v<T, std::vector<std::string>>) {
    std::vector<std::string> values;
    if (node.kind == ConfigNode::Kind::kScalar) {
      if (!node.quoted && node.scalar.find(',') != std::string::npos)
        throw node.error(fmt::format("{} is one text with a comma in it; a list is written [{}]",
                                     node.describe(), node.scalar));
      return {node.scalar};
    }
    if (node.kind != ConfigNode::Kind::kList) {
      throw node.error(node.describe() + " is not a list of texts");
    }
    for (const auto& child : node.children) values.push_back(read_scalar<std::string>(*child));
    return values;
  } else {
    return read_scalar<T>(node);
  }
}

template <class T>
void write_value(ConfigNode& node, const T& value) {
  node.known = true;
  if constexpr (std::is_same_v<T, std::vector<std::string>>) {
    node.kind = ConfigNode::Kind::kList;
    for (const std::string& text : value) {
      node.children.push_back(std::make_unique<ConfigNode>());
      node.children.back()->parent = &node;
      node.children.back()->at = node.children.size() - 1;
      write_value(*node.children.back(), text);
    }
  } else {
    node.kind = ConfigNode::Kind::kScalar;
    node.scalar = Type<T>::print(value);
    if constexpr (std::is_same_v<T, std::string>) node.quoted = !looks_like_text(value);
  }
}

void check_all_known(const ConfigNode& node) {
  for (const auto& child : node.children) {
    if (node.kind == ConfigNode::Kind::kMap && !child->known) {
      const std::vector<std::string> candidates(node.asked.begin(), node.asked.end());
      const std::string near = nearest(child->key, candidates);
      throw child->error(!near.empty() ? fmt::format("unknown key; did you mean \"{}\"?", near)
                         : candidates.empty() ? std::string("unknown key; nothing is expected here")
                                              : fmt::format("unknown key; known here are {}",
                                                            fmt::join(candidates, ", ")));
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
  config.node_ = std::make_shared<ConfigNode>();
  config.node_->document = name;
  config.node_->known = true;
  read_yaml(text, name, false, *config.node_);
  config.node_->line = 0;  // a key missing at the top level is missing in no particular line
  if (config.node_->kind == ConfigNode::Kind::kNull) config.node_->kind = ConfigNode::Kind::kMap;
  if (config.node_->kind != ConfigNode::Kind::kMap) {
    throw InputError(
        fmt::format("{}: a map (key: value) is expected, not {}", name, config.node_->describe()));
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
  if (assignment.find_first_not_of(" \t", equals + 1) == std::string::npos)
    refuse("there is no value behind the =; write null for the default");
  ConfigNode* node = node_.get();
  for (const std::string& part : split_path(path)) {
    if (part.empty()) refuse("an empty part in the path");
    if (node->kind == ConfigNode::Kind::kNull) node->kind = ConfigNode::Kind::kMap;
    if (node->kind == ConfigNode::Kind::kMap) {
      ConfigNode* child = node->find(part);
      if (child == nullptr) {
        child = node->add(part);
        child->from_command_line = true;
      }
      node = child;
    } else if (node->kind == ConfigNode::Kind::kList) {
      std::size_t index = 0;
      const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), index);
      if (error != std::errc() || end != part.data() + part.size() ||
          index >= node->children.size()) {
        refuse(fmt::format("\"{}\" is not an element of {}, which has {} (counted from 0)", part,
                           node->path(), node->children.size()));
      }
      node = node->children[index].get();
    } else {
      refuse(fmt::format("{} is {}, which has no \"{}\"", node->path(), node->describe(), part));
    }
  }
  node->kind = ConfigNode::Kind::kNull;
  node->scalar.clear();
  node->quoted = false;
  node->children.clear();
  read_yaml(assignment.substr(equals + 1), path, true, *node);
}

bool Config::has(const std::string& key) const {
  node_->asked.insert(key);
  ConfigNode* child = node_->find(key);
  if (child == nullptr) return false;
  child->known = true;
  return child->kind != ConfigNode::Kind::kNull;
}

Config Config::map(const std::string& key) {
  const bool there = has(key);
  ConfigNode* child = node_->find(key);
  if (child == nullptr) child = node_->add(key);
  child->known = true;
  if (!there) child->kind = ConfigNode::Kind::kMap;
  if (child->kind != ConfigNode::Kind::kMap) {
    throw child->error(child->describe() + " is not a map (key: value)");
  }
  Config config;
  config.node_ = std::shared_ptr<ConfigNode>(node_, child);  // keeps the whole document alive
  return config;
}

std::vector<Config> Config::list(const std::string& key) {
  std::vector<Config> elements;
  if (!has(key)) return elements;
  ConfigNode* list = node_->find(key);
  if (list->kind != ConfigNode::Kind::kList) {
    throw list->error(list->describe() + " is not a list of maps (- key: value)");
  }
  for (const auto& child : list->children) {
    if (child->kind != ConfigNode::Kind::kMap) {
      throw child->error(child->describe() + " is not a map (key: value)");
    }
    child->known = true;
    elements.emplace_back();
    elements.back().node_ = std::shared_ptr<ConfigNode>(node_, child.get());
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
    // If the key is only misspelt, say so, and where.
    for (const auto& child : node_->children) {
      if (!child->known && !nearest(child->key, {key}).empty())
        throw child->error(fmt::format("unknown key; did you mean \"{}\"?", key));
    }
    throw error(key, "missing; it has no default");
  }
  return read_value<T>(*node_->find(key));
}

template <class T>
T Config::get(const std::string& key, const T& fallback) {
  if (has(key)) return read_value<T>(*node_->find(key));
  ConfigNode* child = node_->find(key);
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
  const ConfigNode* child = node_->find(key);
  return child != nullptr && child->kind == ConfigNode::Kind::kScalar;
}

InputError Config::error(const std::string& key, const std::string& message) const {
  if (const ConfigNode* child = node_->find(key)) return child->error(message);
  const std::string path = node_->path();
  return InputError(
      fmt::format("{}: {}{}{}: {}", node_->place(), path, path.empty() ? "" : ".", key, message));
}

InputError Config::error_at(const std::vector<std::string>& paths,
                            const std::string& message) const {
  const ConfigNode* blamed = nullptr;
  for (const std::string& path : paths) {
    const ConfigNode* node = node_.get();
    for (const std::string& part : split_path(path)) {
      const bool list = node->kind == ConfigNode::Kind::kList;
      std::size_t index = 0;
      if (list) std::from_chars(part.data(), part.data() + part.size(), index);
      const ConfigNode* child = !list                           ? node->find(part)
                                : index < node->children.size() ? node->children[index].get()
                                                                : nullptr;
      if (child == nullptr) break;
      node = child;
    }
    if (blamed == nullptr || (node->from_command_line && !blamed->from_command_line)) blamed = node;
  }
  EYRIE_CHECK(blamed != nullptr, "an error at no key");
  return blamed->error(message);
}

void Config::finish() const { check_all_known(*node_); }

std::string Config::resolved() const { return write_yaml(*node_); }

std::map<std::string, std::string> Config::values() const {
  std::map<std::string, std::string> all;
  const auto add = [&](const auto& self, const ConfigNode& node, const std::string& path) -> void {
    if (node.kind == ConfigNode::Kind::kScalar) {
      all[path] = node.scalar;
    } else if (node.only_scalars() && node.kind == ConfigNode::Kind::kList) {
      std::vector<std::string> texts;
      for (const auto& child : node.children) texts.push_back(child->scalar);
      all[path] = fmt::format("[{}]", fmt::join(texts, ", "));
    } else {
      for (const auto& child : node.children) {
        const std::string name =
            node.kind == ConfigNode::Kind::kMap ? child->key : std::to_string(child->at);
        self(self, *child, path.empty() ? name : path + "." + name);
      }
    }
  };
  add(add, *node_, "");
  return all;
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
