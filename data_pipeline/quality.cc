// The three factors of the quality score.
#include "data_pipeline/quality.h"

#include <algorithm>
#include <unordered_set>

namespace eyrie::data_pipeline {

float quality_score(std::string_view text, const Words& words, std::int64_t tokens) {
  const std::size_t count = words.hashes.size();
  if (count == 0 || tokens <= 0) return 0;
  const double length = std::min(1.0, static_cast<double>(count) / 64);

  double variety = 1;
  if (count >= 4) {
    const std::size_t runs = std::min<std::size_t>(count - 3, 1000);
    std::unordered_set<std::uint64_t> different;
    different.reserve(runs);
    for (std::size_t i = 0; i < runs; ++i) {
      std::uint64_t run = 0;
      for (std::size_t j = i; j < i + 4; ++j) run = (run + words.hashes[j]) * 0x9FB21C651E98DF25u;
      different.insert(run);
    }
    variety = static_cast<double>(different.size()) / static_cast<double>(runs);
  }

  const auto white = [](char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; };
  const auto bytes = text.size() - std::count_if(text.begin(), text.end(), white);
  const double wording =
      std::min(1.0, static_cast<double>(bytes) / static_cast<double>(tokens) / 4);
  return static_cast<float>(length * variety * wording);
}

}  // namespace eyrie::data_pipeline
