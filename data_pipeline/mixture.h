// Which source provides row n of a stage: always the one that is furthest behind its weight.
#pragma once

#include <cstdint>
#include <vector>

namespace eyrie::data_pipeline {

// With weights that add up to 1, a source of weight w provides between w·n − 1 and w·n + 1 of the
// first n rows. The sequence is periodic, with a whole number of rows per source in a period, so
// any row is found directly. Weights are rounded to one part in a million.
class Mixture {
 public:
  // Takes up to 65,536 weights. Throws InputError if one is negative, none is positive, or a
  // positive one is below a millionth of the sum.
  explicit Mixture(const std::vector<double>& weights);

  struct Place {
    std::size_t source;
    std::int64_t index;  // number of earlier rows from this source
  };
  Place row(std::int64_t n) const;
  // Returns how many of the first `rows` rows come from this source.
  std::int64_t given(std::size_t source, std::int64_t rows) const;
  std::int64_t period() const { return static_cast<std::int64_t>(sources_.size()); }

 private:
  std::vector<std::int64_t> shares_;    // rows per period, by source
  std::vector<std::uint16_t> sources_;  // the source of each row of a period
  // For each row of a period: how many earlier rows of the period have the same source.
  std::vector<std::uint32_t> indices_;
};

}  // namespace eyrie::data_pipeline
