// The answers of an unfinished evaluation, kept in files so that the next start continues from
// them. They belong to one identity (identity.h) and are not used for any other.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "base/file.h"
#include "model/language_model.h"

namespace eyrie::eval {

// By leaf task, then by (document, choice).
using Answers =
    std::map<std::string, std::map<std::pair<std::int64_t, std::int64_t>, model::Score>>;

std::int64_t count(const Answers& answers);
void add(const Answers& more, Answers& answers);

// One answer per line. Numbers are written as the shortest decimals that read back to the same
// value. Scores that are not finite are left out. from_lines() throws base::Error if a line is
// damaged.
std::string to_lines(const Answers& answers);
Answers from_lines(std::string_view lines);

// The folder DIRECTORY/unfinished. answers.jsonl has the answers of earlier starts, and
// answers-RANK.jsonl has those that each rank has given since. Every file is written whole or not
// at all and contains the identity. begin() may be called by only one rank at a time; write() by
// all of them.
class AnswerCache {
 public:
  // `how` names what else the last bits of the answers may depend on; answers with another `how`
  // are not reused.
  AnswerCache(const base::Path& directory, const std::string& identity, std::string how);

  // Returns all kept answers and merges them into one file; makes the folder if it does not exist.
  // Files that are damaged or have another identity or `how` are removed with a warning.
  Answers begin();
  // Writes this rank's answers since begin(), replacing its earlier file.
  void write(int rank, const Answers& answers) const;

  static base::Path folder(const base::Path& directory) { return directory / "unfinished"; }
  // Returns the identity in the files of this folder, or "" if there are none that can be read.
  static std::string identity_in(const base::Path& directory);

 private:
  base::Path folder_;
  std::string identity_, how_;
};

}  // namespace eyrie::eval
