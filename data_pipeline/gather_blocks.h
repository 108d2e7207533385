// All-gathers what the ranks of a build found: blocks, exclusion findings and bad lines.
#pragma once

#include <vector>

#include "data_pipeline/tokenize_blocks.h"
#include "parallel/communication/communicator.h"

namespace eyrie::data_pipeline {

// All of these are collective and return the same result on every rank.

// In the order of the configuration: sorted by source, file and block.
std::vector<Block> gather_blocks(const std::vector<Block>& blocks,
                                 parallel::Communicator& communicator);

// The sums over all ranks, one entry for each of the `groups` groups.
Findings gather_findings(const Findings& findings, std::size_t groups,
                         parallel::Communicator& communicator);

// The first kNamedBadLines bad lines of a source, over all ranks.
std::vector<BadLine> gather_bad_lines(const std::vector<BadLine>& bad_lines,
                                      parallel::Communicator& communicator);

}  // namespace eyrie::data_pipeline
