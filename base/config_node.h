// The tree behind base/config.h: the parsed document copied into nodes of our own, which keep
// order, lines and which keys were read; yaml-cpp's nodes would share and change under the reader's
// hands.
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
  bool quoted = false;                                // a text, whatever it looks like
  std::vector<std::unique_ptr<ConfigNode>> children;  // of lists and maps, in file order

  ConfigNode* parent = nullptr;
  std::string key;     // in a map
  std::size_t at = 0;  // in a list
  int line = 0;        // 0: not from the file
  bool from_command_line = false;
  bool known = false;
  std::set<std::string> asked;  // of a map: the keys that were asked for, there or not
  std::string document;         // of the root: its name

  ConfigNode* find(const std::string& name) const;  // null: a map without it, or no map
  ConfigNode* add(const std::string& name);         // to a map
  const ConfigNode* root() const;
  std::string path() const;   // "stages[0].data"
  std::string place() const;  // "run.yaml:12" or "command line"
  bool only_scalars() const;  // all children are plain values
  void mark_all_known();
  std::string describe() const;  // what it holds, for messages
  InputError error(const std::string& message) const;
};

// Reads `text`, one YAML document called `name`, into `to`, which must be fresh. InputError with
// line and column: not YAML, several documents, a key twice, nested without end, a key or value
// that is not UTF-8.
void read_yaml(std::string_view text, const std::string& name, bool from_command_line,
               ConfigNode& to);

std::string write_yaml(const ConfigNode& node);

}  // namespace eyrie::base
