// Validation loss over held-out documents, by source and in total: the same sequences every time,
// divided over the ranks, summed in the order of the sequences.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "data_pipeline/next_token_stream.h"
#include "model/griffin.h"
#include "parallel/communication/communicator.h"
#include "parallel/health/stop_notice.h"

namespace eyrie::trainer {

struct ValidationLoss {
  double all = 0;  // nats per target token, over all sources' sequences
  std::vector<std::pair<std::string, double>> by_source;
  bool stopped = false;  // a stop request came between two batches: there is no loss
};

// Sequences per pass: a few, or one if they are long.
constexpr std::int64_t validation_rows_at_once(std::int64_t length) {
  return std::clamp<std::int64_t>(16384 / length, 1, 4);
}

// Collective. Reads `sequences` in all, divided over the sources that have any, as far as these
// suffice. With `stop` (of the same ranks) a stop request ends it between two batches.
ValidationLoss validation_loss(const model::Griffin& griffin, const model::Parameters& parameters,
                               const data_pipeline::ValidationStream& held_out,
                               std::int64_t sequences, parallel::Communicator& ranks,
                               model::Workspace& workspace, parallel::StopNotice* stop = nullptr);

}  // namespace eyrie::trainer
