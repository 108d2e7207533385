// That all ranks were given the same: files on each node's own disk may differ without a word.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "parallel/communicator.h"

namespace eyrie::parallel {

// What a rank read, in an order that all ranks share: what it is ("seed", "the shards in /data"),
// and its value or hash.
using Fact = std::pair<std::string, std::string>;
using Facts = std::vector<Fact>;

// Collective. InputError on all ranks alike where any rank's facts are not rank 0's: names the
// ranks, their hosts and the first fact that differs, then `advice`.
void check_same(Communicator& ranks, const Facts& facts,
                const std::string& advice = "Give every node the same files, or shared ones");

}  // namespace eyrie::parallel
