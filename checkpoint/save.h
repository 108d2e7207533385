// Saving a checkpoint: one HDF5 file per writing rank, committed by a manifest that is written
// last.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "base/file.h"
#include "checkpoint/tensor_piece.h"
#include "parallel/communication/communicator.h"

namespace eyrie::checkpoint {

// Collective. Writes the pieces of all ranks into `directory` and commits.
// CheckpointReader::state() returns `state_json` (a JSON object, from rank 0). Together the pieces
// must cover every tensor that any rank names; a replicated tensor is best passed by one rank only.
// Throws base::Error on all ranks if the disk is full or fails, if values are not finite, or if a
// tensor is not covered. Then `directory` is as it was before (or absent, if it held an unfinished
// save), and no other checkpoint was touched.
// `may_write` (may be empty) is called on every rank before it changes anything below `directory`
// and before each file appears there; an exception from it ends the save, and nothing more is
// touched.
void save_checkpoint(const base::Path& directory, parallel::Communicator& communicator,
                     std::span<const TensorPiece> mine, std::int64_t step,
                     const std::string& state_json, const std::function<void()>& may_write = {});

}  // namespace eyrie::checkpoint
