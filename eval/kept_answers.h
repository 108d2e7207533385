// The answers of an evaluation that is not finished, kept in files, so that the next start goes on
// from them. They are those of one identity (identity.h) and of nothing else.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "base/file.h"
#include "model/language_model.h"

namespace eyrie::eval {

// By leaf task, then by document and choice.
using Answers =
    std::map<std::string, std::map<std::pair<std::int64_t, std::int64_t>, model::Score>>;

std::int64_t count(const Answers& answers);
void add(const Answers& more, Answers& answers);

// One answer a line; numbers as the shortest decimals that read back to the same value. What is not
// finite is left out.
std::string to_lines(const Answers& answers);
Answers from_lines(std::string_view lines);  // base::Error where they are damaged

// DIRECTORY/unfinished: answers.jsonl with those of earlier starts, and answers-RANK.jsonl with
// what each rank has answered since. Every file appears whole or not at all and names the identity.
// For one rank at a time, but write().
class KeptAnswers {
 public:
  // `how`: what else the answers' last bits may depend on; answers that were computed otherwise are
  // not taken.
  KeptAnswers(const base::Path& directory, const std::string& identity, std::string how);

  // All that is there, put into one file; makes the folder. Files that are damaged, or of another
  // identity or way, are removed with a warning.
  Answers begin();
  // In place of what this rank has written since begin().
  void write(int rank, const Answers& answers) const;

  static base::Path folder(const base::Path& directory) { return directory / "unfinished"; }
  // The identity that the files there name: "" where there are none, or none that can be read.
  static std::string identity_in(const base::Path& directory);

 private:
  base::Path folder_;
  std::string identity_, how_;
};

}  // namespace eyrie::eval
