// The tree of a configuration: read and written with yaml-cpp.
#include "base/config_node.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>

#include <fmt/format.h>

#include "base/shown.h"

namespace eyrie::base {
namespace {

constexpr int kMaxDepth = 100;
constexpr std::size_t kMaxNodes = 1'000'000;  // aliases of aliases can expand without end

// Any text of a configuration may end up in JSON, HDF5 or YAML, which allow only UTF-8.
std::string not_utf8(const std::string& text) {
  return fmt::format(
      "\"{}\" is not UTF-8; save the file in UTF-8, or give the file or folder that it names "
      "another name",
      shown(text));
}

struct Copier {
  const std::string& document;
  bool from_command_line;
  std::size_t count = 0;

  void copy(const YAML::Node& from, ConfigNode& to, int depth) {
    to.line = from_command_line ? 0 : from.Mark().line + 1;
    to.from_command_line = from_command_line;
    if (depth > kMaxDepth || ++count > kMaxNodes) {
      throw InputError(
          fmt::format("{}: nested too deeply or an alias that contains itself", to.place()));
    }
    if (from.IsScalar()) {
      to.kind = ConfigNode::Kind::kScalar;
      to.scalar = from.Scalar();
      if (!is_utf8(to.scalar)) throw to.error(not_utf8(to.scalar));
      to.quoted = from.Tag() == "!" || from.Tag() == "tag:yaml.org,2002:str";
    } else if (from.IsSequence()) {
      to.kind = ConfigNode::Kind::kList;
      for (std::size_t i = 0; i < from.size(); ++i) {
        to.children.push_back(std::make_unique<ConfigNode>());
        to.children.back()->parent = &to;
        to.children.back()->at = i;
        copy(from[i], *to.children.back(), depth + 1);
      }
    } else if (from.IsMap()) {
      to.kind = ConfigNode::Kind::kMap;
      for (const auto& entry : from) {
        const std::string place = from_command_line
                                      ? "command line"
                                      : fmt::format("{}:{}", document, entry.first.Mark().line + 1);
        if (!entry.first.IsScalar()) throw InputError(place + ": a key must be a plain word");
        const std::string& key = entry.first.Scalar();
        if (key == "<<") {
          throw InputError(fmt::format(
              "{}: merge keys (<<) are not read: write the keys out, or use an alias (*name) for a "
              "whole value",
              place));
        }
        if (!is_utf8(key)) throw InputError(fmt::format("{}: {}", place, not_utf8(key)));
        if (to.find(key) != nullptr) {
          throw InputError(
              fmt::format("{}: the key \"{}\" is there twice; remove one", place, key));
        }
        ConfigNode* child = to.add(key);
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

void emit(YAML::Emitter& out, const ConfigNode& node) {
  switch (node.kind) {
    case ConfigNode::Kind::kNull:
      out << YAML::Null;
      break;
    case ConfigNode::Kind::kScalar:
      if (node.quoted) out << YAML::DoubleQuoted;
      out << node.scalar;
      break;
    case ConfigNode::Kind::kList:
      if (node.only_scalars()) out << YAML::Flow;
      out << YAML::BeginSeq;
      for (const auto& child : node.children) emit(out, *child);
      out << YAML::EndSeq;
      break;
    case ConfigNode::Kind::kMap:
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

}  // namespace

ConfigNode* ConfigNode::find(const std::string& name) const {
  for (const auto& child : children) {
    if (kind == Kind::kMap && child->key == name) return child.get();
  }
  return nullptr;
}

ConfigNode* ConfigNode::add(const std::string& name) {
  EYRIE_CHECK(kind == Kind::kMap, "a key can only be added to a map");
  children.push_back(std::make_unique<ConfigNode>());
  children.back()->parent = this;
  children.back()->key = name;
  return children.back().get();
}

const ConfigNode* ConfigNode::root() const {
  const ConfigNode* node = this;
  while (node->parent != nullptr) node = node->parent;
  return node;
}

std::string ConfigNode::path() const {
  if (parent == nullptr) return "";
  std::string up = parent->path();
  if (parent->kind == Kind::kList) return fmt::format("{}[{}]", up, at);
  return up.empty() ? key : up + "." + key;
}

std::string ConfigNode::place() const {
  for (const ConfigNode* node = this; node != nullptr; node = node->parent) {
    if (node->from_command_line) return "command line";
    if (node->line > 0) return fmt::format("{}:{}", root()->document, node->line);
  }
  return root()->document;
}

bool ConfigNode::only_scalars() const {
  return std::all_of(children.begin(), children.end(),
                     [](const auto& child) { return child->kind == Kind::kScalar; });
}

void ConfigNode::mark_all_known() {
  known = true;
  for (const auto& child : children) child->mark_all_known();
}

std::string ConfigNode::describe() const {
  switch (kind) {
    case Kind::kNull:
      return "nothing";
    case Kind::kScalar:
      return fmt::format("\"{}\"", scalar);
    case Kind::kList:
      return "a list";
    case Kind::kMap:
      return "a map";
  }
  return "";
}

InputError ConfigNode::error(const std::string& message) const {
  const std::string where = path();
  return InputError(where.empty() ? fmt::format("{}: {}", place(), message)
                                  : fmt::format("{}: {}: {}", place(), where, message));
}

void read_yaml(std::string_view text, const std::string& name, bool from_command_line,
               ConfigNode& to) {
  const YAML::Node document = load(text, from_command_line ? "command line: " + name : name);
  Copier{name, from_command_line}.copy(document, to, 0);
}

std::string write_yaml(const ConfigNode& node) {
  YAML::Emitter out;
  emit(out, node);
  return std::string(out.c_str()) + "\n";
}

}  // namespace eyrie::base
