// One owner of a folder: two jobs that write into one would lose each other's work. The owner's
// mark is a file .owner-N in the folder, which is made exclusively, on network file systems too. It
// says who the owner is and holds a counter that the owner raises every few seconds.
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
  std::string instead;                      // for messages: what to do to work beside the owner
  std::vector<std::string> processes = {};  // to_line(this_process()) of every rank; none: this one
  std::chrono::milliseconds beat{5000};     // between two counts
  // For an owner on another machine whose counter stands still: then it counts as gone.
  std::chrono::milliseconds patience{45000};
};

// Marks of one folder are numbered upwards; the highest is the owner's. To take over from an owner
// that is gone is to make the next number, which only one of several takers can. An owner is gone
// when its processes on this machine are (seen at once), when it belongs to an earlier start of the
// same Slurm job (at once), or when its counter does not move for `patience`.
class Owner {
 public:
  // Makes the folder where it is not there. InputError: it has an owner that lives, who is named.
  // Error: the mark cannot be made. What was taken over is logged.
  Owner(const Path& folder, OwnerOptions options);
  Owner(const Owner&) = delete;
  Owner& operator=(const Owner&) = delete;
  ~Owner();  // takes the mark away, and the folder where it was made and is empty

  // Error: another one has taken the folder over (this process was suspended, or cut off from the
  // network). To be called before anything is committed: what comes after it would be lost work of
  // the new owner's. Thread-safe.
  void check() const;
  // As check(), of what the last count saw: costs nothing.
  void check_seen() const;
  // For check_owner() on other ranks.
  const std::string& mark() const;

 private:
  struct State;
  std::shared_ptr<State> state_;  // shared with the thread that counts
};

// As Owner::check(), by any process of the owner's job.
void check_owner(const Path& folder, const std::string& mark);

// For the other ranks of the owner's job, right after it: InputError where this one does not see
// the owner's mark within a few seconds, so that its folder is another one of the same name.
void see_owner(const Path& folder, const std::string& mark);

// Who owns the folder, in words; nothing where nobody does, as far as can be seen without waiting.
std::optional<std::string> owner_of(const Path& folder);

}  // namespace eyrie::base
