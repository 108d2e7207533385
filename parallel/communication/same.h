// Checks that all ranks read the same input: files on each node's own disk may differ unnoticed.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "parallel/communication/communicator.h"

namespace eyrie::parallel {

// Something that a rank read: its name ("seed", "the shards in /data") and its value or hash. All
// ranks list their facts in the same order.
using Fact = std::pair<std::string, std::string>;
using Facts = std::vector<Fact>;

// Collective. Throws InputError on all ranks if any rank's facts differ from rank 0's. The message
// names the ranks, their hosts and the first fact that differs, then gives `advice`.
void check_same(Communicator& ranks, const Facts& facts,
                const std::string& advice = "Give every node the same files, or shared ones");

}  // namespace eyrie::parallel
