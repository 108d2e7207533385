// Validation loss over held-out documents, by source and in all: the same sequences every time,
// shared out among the ranks, summed in the order of the sequences.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "data_pipeline/stream.h"
#include "model/griffin.h"
#include "parallel/communicator.h"
#include "parallel/stop_notice.h"

namespace eyrie::trainer {

struct ValidationLoss {
  double all = 0;  // nats a target token, over all sources' sequences
  std::vector<std::pair<std::string, double>> by_source;
  bool stopped = false;  // a request to stop came between two batches: there is no loss
};

// Rows that one pass reads: a few, but of long sequences one.
constexpr std::int64_t validation_rows_at_once(std::int64_t length) {
  return std::clamp<std::int64_t>(16384 / length, 1, 4);
}

// Collective. `sequences` in all, shared out among the sources that have any, as far as these
// reach. With `stop`, of the same ranks, a request to stop ends it between two batches.
ValidationLoss validation_loss(const model::Griffin& griffin, const model::Parameters& parameters,
                               const data_pipeline::ValidationStream& held_out,
                               std::int64_t sequences, parallel::Communicator& ranks,
                               model::Workspace& workspace, parallel::StopNotice* stop = nullptr);

}  // namespace eyrie::trainer
