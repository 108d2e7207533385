// Gives a folder one owner, because two jobs that write into one folder would destroy each other's
// work. The owner's mark is a file .owner-N in the folder, created exclusively, which works on
// network file systems too. It says who the owner is and holds a counter that the owner increments
// every few seconds.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/file.h"

namespace eyrie::base {

struct OwnerOptions {
  std::string what = "this folder";         // for messages: "this run"
  std::string instead = {};                 // for messages: how to work beside the owner
  std::vector<std::string> processes = {};  // to_line(this_process()) of every rank; none: this one
  std::chrono::milliseconds beat{5000};     // between two increments
  // An owner on another machine counts as gone if its counter does not move for this long.
  std::chrono::milliseconds patience{45000};
};

// The marks in a folder have increasing numbers; the highest is the owner's. A job takes over from
// an owner that is gone by creating the next number, which only one of several jobs can do. An
// owner is gone if its processes on this machine are gone (noticed at once), if it belongs to an
// earlier start of the same Slurm job (at once), or if its counter does not move for `patience`.
class FolderOwner {
 public:
  // Creates the folder if it does not exist. Throws InputError, naming the owner, if the folder has
  // a living owner, and Error if the mark cannot be created. Logs what was taken over.
  FolderOwner(const Path& folder, OwnerOptions options);
  FolderOwner(const FolderOwner&) = delete;
  FolderOwner& operator=(const FolderOwner&) = delete;
  ~FolderOwner();  // removes the mark, and the folder if it was created here and is empty

  // Throws Error if another job has taken over the folder (this process was suspended, or cut off
  // from the network). Call it before anything is committed: later writes would destroy work of the
  // new owner. Thread-safe.
  void check() const;
  // Like check(), but goes by what the last increment saw: costs nothing.
  void check_seen() const;
  // The mark, for check_owner() on other ranks.
  const std::string& mark() const;

 private:
  struct State;
  std::shared_ptr<State> state_;  // shared with the counting thread
};

// Like FolderOwner::check(), for any process of the owner's job.
void check_owner(const Path& folder, const std::string& mark);

// For the other ranks of the owner's job, right after it was created. Throws InputError if this
// rank does not see the owner's mark within a few seconds: its folder is then a different one of
// the same name.
void see_owner(const Path& folder, const std::string& mark);

// Describes the folder's owner; empty if it has none, as far as can be seen without waiting.
std::optional<std::string> owner_of(const Path& folder);

}  // namespace eyrie::base
