// metrics.jsonl: one JSON object per line, written by rank 0. Numbers are the shortest decimals
// that read back to the same value.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/file.h"

namespace eyrie::trainer {

class Metrics {
 public:
  // Opens the file for appending. First removes lines of steps after `last_step` (a run that
  // resumes from a checkpoint writes them again) and an unfinished last line.
  Metrics(const base::Path& path, std::int64_t last_step);

  struct Line {
    std::int64_t step = 0;
    std::string stage;
    std::vector<std::pair<std::string, double>> numbers;  // in this order
    std::vector<std::pair<std::string, std::vector<std::pair<std::string, double>>>>
        groups;  // name → members
  };
  void append(const Line& line);

 private:
  base::File file_;
  std::uint64_t end_ = 0;
};

}  // namespace eyrie::trainer
