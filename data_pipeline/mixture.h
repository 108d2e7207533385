// Which source gives row n of a stage: always the one furthest behind its weight.
#pragma once

#include <cstdint>
#include <vector>

namespace eyrie::data_pipeline {

// After n rows a source of weight w has given between w·n − 1 and w·n + 1 of them (weights adding
// up to 1), and the sequence repeats after a whole number of rows of each, so that any row is found
// at once. Weights are taken to one part in a million.
class Mixture {
 public:
  // At least one weight, none negative, one positive; no more than 65,536. A positive weight below
  // a millionth of their sum is refused. InputError.
  explicit Mixture(const std::vector<double>& weights);

  struct Place {
    std::size_t source;
    std::int64_t index;  // how many rows the source has given before this one
  };
  Place row(std::int64_t n) const;
  std::int64_t given(std::size_t source,
                     std::int64_t rows) const;  // by the source, of the first `rows`
  std::int64_t period() const { return static_cast<std::int64_t>(sources_.size()); }

 private:
  std::vector<std::int64_t> shares_;    // rows a period
  std::vector<std::uint16_t> sources_;  // of each row of a period
  std::vector<std::uint32_t> indices_;  // of each row, among the rows of its source in the period
};

}  // namespace eyrie::data_pipeline
