// Exchanges blocks as bytes, findings and bad lines as JSON.
#include "data_pipeline/gather_blocks.h"

#include <algorithm>
#include <tuple>

namespace eyrie::data_pipeline {

std::vector<Block> gather_blocks(const std::vector<Block>& blocks,
                                 parallel::Communicator& communicator) {
  std::vector<Block> all;
  for (const auto& theirs : communicator.all_gather_values<Block>(blocks))
    all.insert(all.end(), theirs.begin(), theirs.end());
  std::sort(all.begin(), all.end(),
            [](const Block& a, const Block& b) { return a.place < b.place; });
  return all;
}

Findings gather_findings(const Findings& findings, std::size_t groups,
                         parallel::Communicator& communicator) {
  Findings sums(groups);
  for (const std::string& rank : communicator.all_gather(to_json(findings))) {
    const Findings theirs = findings_from_json(rank);
    for (std::size_t g = 0; g < theirs.size(); ++g) sums[g].add(theirs[g]);
  }
  return sums;
}

std::vector<BadLine> gather_bad_lines(const std::vector<BadLine>& bad_lines,
                                      parallel::Communicator& communicator) {
  std::vector<BadLine> all;
  for (const std::string& rank : communicator.all_gather(to_json(bad_lines))) {
    const std::vector<BadLine> theirs = bad_lines_from_json(rank);
    all.insert(all.end(), theirs.begin(), theirs.end());
  }
  std::sort(all.begin(), all.end(), [](const BadLine& a, const BadLine& b) {
    return std::tie(a.file, a.line) < std::tie(b.file, b.line);
  });
  if (all.size() > kNamedBadLines) all.resize(kNamedBadLines);
  return all;
}

}  // namespace eyrie::data_pipeline
