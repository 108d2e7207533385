// How a row of elements is cut into one slice per rank: rank r owns [cuts[r], cuts[r + 1]). Slices
// may be empty.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "base/error.h"

namespace eyrie::parallel {

class Cuts {
 public:
  Cuts() : Cuts(0, {}) {}
  // ranks + 1 offsets, ascending from 0.
  Cuts(std::vector<std::int64_t> offsets) : ranks_(static_cast<int>(offsets.size()) - 1) {
    EYRIE_CHECK(
        !offsets.empty() && offsets.front() == 0 && std::is_sorted(offsets.begin(), offsets.end()),
        "cuts ascend from 0");
    at_ = [offsets = std::move(offsets)](int rank) {
      return offsets[static_cast<std::size_t>(rank)];
    };
  }
  // Computed where they are needed: on 65,536 ranks nobody keeps those of all units.
  Cuts(int ranks, std::function<std::int64_t(int rank)> at) : ranks_(ranks), at_(std::move(at)) {}

  int ranks() const { return ranks_; }
  std::int64_t operator[](int rank) const { return at_(rank); }  // 0 … ranks()
  std::int64_t size(int rank) const { return at_(rank + 1) - at_(rank); }

 private:
  int ranks_;
  std::function<std::int64_t(int rank)> at_;
};

}  // namespace eyrie::parallel
