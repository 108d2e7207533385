// A disk that can lose its power, for tests. It follows a folder through the fault hook and knows
// what of it has been synced: of a file the bytes at its last sync, of a directory the names at its
// last sync. What power loss leaves is then built in another folder, by several laws, because real
// file systems keep more than they promise, in any order.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <set>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/file.h"

namespace eyrie::test {

class PowerLoss {
 public:
  enum class Law {
    kPromised,  // nothing but what was synced
    kNames,     // all names as they are; unsynced bytes gone
    kHalves,    // all names as they are; of unsynced files half of the bytes
    kAny,       // each directory and each file as synced or as it is, by the seed
  };

  // What lies under `root` now is on the disk.
  explicit PowerLoss(base::Path root) : root_(std::move(root)) {
    look();
    for (auto& [id, node] : nodes_) {
      node.names = live_names(id);
      if (!node.directory) node.synced = base::read_file(node.path);
    }
  }

  // For the fault hook: before each operation. One thread at a time.
  void before(std::string_view operation, const base::Path& path) {
    look();
    if (operation != "sync") return;
    const auto found = ids_.find(path.lexically_normal());
    if (found == ids_.end()) return;  // outside of the root
    Node& node = nodes_.at(found->second);
    if (node.directory) {
      node.names = live_names(found->second);
    } else {
      node.synced = base::read_file(node.path);
    }
  }

  // Builds what is left if the power goes now. May be called in the hook; reading it must wait
  // until the hook has returned, which HDF5's own writes call while its lock is held.
  void leave(const base::Path& to, Law law, unsigned seed = 0) {
    look();
    std::mt19937 random(seed);
    build(ids_.at(root_.lexically_normal()), to, law, random);
  }

 private:
  struct Node {
    bool directory = false;
    bool live = false;
    base::Path path;                   // while it is live
    std::string synced;                // of a file; empty until its first sync
    std::map<std::string, int> names;  // of a directory: synced
  };

  // Finds what is there; a node goes on through renames because its inode does.
  void look() {
    std::map<std::uint64_t, int> inodes;
    ids_.clear();
    for (auto& [id, node] : nodes_) node.live = false;
    const auto add = [&](const base::Path& path) {
      struct stat status {};
      if (::lstat(path.c_str(), &status) != 0) return;  // another thread took it away
      const auto known = inodes_.find(status.st_ino);
      const int id = known != inodes_.end() ? known->second : next_++;
      Node& node = nodes_[id];
      node.directory = S_ISDIR(status.st_mode);
      node.live = true;
      node.path = path;
      inodes[status.st_ino] = id;
      ids_[path.lexically_normal()] = id;
    };
    add(root_);
    std::error_code error;
    for (std::filesystem::recursive_directory_iterator at(root_, error), end; at != end && !error;
         at.increment(error))
      add(at->path());
    inodes_ = std::move(inodes);
  }

  std::map<std::string, int> live_names(int id) const {
    std::map<std::string, int> names;
    const Node& node = nodes_.at(id);
    if (!node.directory || !node.live) return names;
    for (const auto& [path, child] : ids_)
      if (path.parent_path() == node.path.lexically_normal())
        names[path.filename().string()] = child;
    return names;
  }

  void build(int id, const base::Path& to, Law law, std::mt19937& random) const {
    const Node& node = nodes_.at(id);
    const bool as_it_is = law == Law::kAny ? random() % 2 == 0 : law != Law::kPromised;
    if (node.directory) {
      std::filesystem::create_directories(to);
      for (const auto& [name, child] : as_it_is&& node.live ? live_names(id) : node.names)
        build(child, to / name, law, random);
      return;
    }
    std::string bytes = node.synced;
    if (node.live && law != Law::kPromised && law != Law::kNames) {
      std::string now = node.synced;
      try {
        now = base::read_file(node.path);
      } catch (const base::Error&) {  // another thread has just renamed it
      }
      if (now != node.synced) {
        const bool half = law == Law::kHalves || random() % 2 == 0;
        if (law == Law::kHalves || as_it_is)
          bytes = now.substr(0, half ? now.size() / 2 : now.size());
      }
    }
    std::ofstream(to, std::ios::binary) << bytes;
  }

  const base::Path root_;
  int next_ = 0;
  std::map<int, Node> nodes_;
  std::map<std::uint64_t, int> inodes_;  // → node, of the last look
  std::map<base::Path, int> ids_;        // live path → node
};

}  // namespace eyrie::test
