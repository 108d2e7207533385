// The tree behind base/config.h: the parsed document is copied into our own nodes, which keep the
// order, the lines and which keys were read. yaml-cpp's nodes are shared and would change while
// being read.
#pragma once

#include <cstddef>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace eyrie::base {

struct ConfigNode {
  enum class Kind { kNull, kScalar, kList, kMap };

  Kind kind = Kind::kNull;
  std::string scalar;
  bool quoted = false;                                // a string, whatever it looks like
  std::vector<std::unique_ptr<ConfigNode>> children;  // of lists and maps, in file order

  ConfigNode* parent = nullptr;
  std::string key;     // in a map
  std::size_t at = 0;  // in a list
  int line = 0;        // 0: not from the file
  bool from_command_line = false;
  bool known = false;
  std::set<std::string> asked;  // of a map: all keys that were asked for, present or not
  std::string document;         // of the root: its name

  ConfigNode* find(const std::string& name) const;  // null: no such key, or not a map
  ConfigNode* add(const std::string& name);         // adds a key to a map
  const ConfigNode* root() const;
  std::string path() const;   // "stages[0].data"
  std::string place() const;  // "run.yaml:12" or "command line"
  bool only_scalars() const;  // all children are plain values
  void mark_all_known();
  std::string describe() const;  // its content, for messages
  InputError error(const std::string& message) const;
};

// Reads `text`, one YAML document called `name`, into `to`, which must be a new node. Throws
// InputError with line and column: not YAML, several documents, a duplicate key, endless nesting,
// or a key or value that is not UTF-8.
void read_yaml(std::string_view text, const std::string& name, bool from_command_line,
               ConfigNode& to);

std::string write_yaml(const ConfigNode& node);

}  // namespace eyrie::base
