// What the ranks of a build found, brought together on all of them.
#pragma once

#include <vector>

#include "data_pipeline/make_parts.h"
#include "parallel/communicator.h"

namespace eyrie::data_pipeline {

// All of these are collective, and give the same on every rank.

// In the order of the configuration: by source, file and block.
std::vector<Block> gather_blocks(const std::vector<Block>& blocks,
                                 parallel::Communicator& communicator);

// The sums, one of each of `groups`.
Findings gather_findings(const Findings& findings, std::size_t groups,
                         parallel::Communicator& communicator);

// The first kNamedBadLines of a source, whichever ranks found them.
std::vector<BadLine> gather_bad_lines(const std::vector<BadLine>& bad_lines,
                                      parallel::Communicator& communicator);

}  // namespace eyrie::data_pipeline
