// YAML bound to structs: a key that is read becomes known, and a key that is never read is an error
// that names file, line and the nearest known key. Reading with a default writes that default into
// the document, so that resolved() is the complete configuration as it was used.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/file.h"

namespace eyrie::base {

struct ConfigNode;

// A node of a YAML document. Cheap to copy; copies share the document. Not thread-safe.
class Config {
 public:
  static Config read(const Path& path);  // InputError: missing, or not YAML (with line and column)
  static Config parse(std::string_view text, const std::string& name);

  // `assignment` is "key.path=value" as on the command line; list elements are given by index
  // ("stages.0.steps=10").
  void set(const std::string& assignment);

  bool has(const std::string& key) const;  // also marks the key as known
  Config map(const std::string& key);      // a map; an absent one reads as empty and is created
  std::vector<Config> list(const std::string& key);  // a list of maps; empty if absent
  std::vector<std::string> keys() const;  // of a map with free keys (a mixture); in file order

  // T: std::string, std::int64_t, double, bool, std::vector<std::string>. Integers may be written
  // as 16Ki, 16Mi, 2Gi, 1e6. Throws InputError if the key is absent without a default, or not of
  // type T.
  template <class T>
  T get(const std::string& key);
  template <class T>
  T get(const std::string& key, const T& fallback);
  // Returns the entries of a map of free keys to numbers or strings, in file order.
  template <class T>
  std::vector<std::pair<std::string, T>> entries();

  bool is_scalar(const std::string& key) const;  // whether the key holds a single value

  // Returns an error to be thrown: "run.yaml:12: stages[0].data.mixture: MESSAGE".
  InputError error(const std::string& key, const std::string& message) const;

  // The same for several keys that contradict each other, given as paths below this node
  // ("data.mixture", "stages.0.steps"). Names the first of them that the command line set, else the
  // first.
  InputError error_at(const std::vector<std::string>& paths, const std::string& message) const;

  // Throws for the first key below this node, at any depth, that nothing has read.
  void finish() const;

  std::string resolved() const;  // YAML
  // Returns every value below this node by its path, as set() takes it ("stages.0.steps"). A list
  // of plain values counts as one value.
  std::map<std::string, std::string> values() const;
  std::string name() const;  // the file's name, or the name given to parse

 private:
  std::shared_ptr<ConfigNode> node_;
};

}  // namespace eyrie::base
