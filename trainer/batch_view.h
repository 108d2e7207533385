// A batch of the data pipeline as the model reads it.
#pragma once

#include "data_pipeline/stream.h"
#include "model/griffin.h"

namespace eyrie::trainer {

// `batch` keeps the memory.
inline model::BatchView view_of(const data_pipeline::Batch& batch) {
  return {batch.rows,
          batch.length,
          tensor::host_row(batch.tokens),
          tensor::host_row(batch.targets),
          tensor::host_row(batch.positions),
          tensor::host_row(batch.loss_mask)};
}

}  // namespace eyrie::trainer
