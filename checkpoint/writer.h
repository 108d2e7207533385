// Asynchronous checkpoints: training waits only for a copy in memory; a thread on each rank writes
// it.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "base/file.h"
#include "checkpoint/tensor_piece.h"
#include "parallel/communication/communicator.h"
#include "tensor/arena.h"

namespace eyrie::checkpoint {

// Copies of a rank's pieces, in buckets that the next copy reuses: no more memory than the bytes of
// this rank's pieces (each rounded up to 64), however many copies are taken.
class Snapshot {
 public:
  // Copies the pieces, with all threads of the caller. The result is valid until the next take().
  std::span<const TensorPiece> take(std::span<const TensorPiece> pieces);
  std::size_t bytes() const { return bytes_; }  // held by the buckets

 private:
  std::vector<tensor::Buffer> buckets_;
  std::vector<std::size_t> sizes_;  // of the buckets
  std::vector<TensorPiece> copies_;
  std::size_t bytes_ = 0;
};

// Runs one save at a time. For one thread only (the training's). All calls are collective: every
// rank makes the same ones in the same order. The save itself has its own thread and communicator.
//
// An error in a save is thrown on all ranks by the first poll(), finish() or begin() after it. It
// is what save_checkpoint() throws, with the same guarantee: no other checkpoint was touched.
class CheckpointWriter {
 public:
  // Collective. `ranks` must outlive the writer; only the calling thread uses it.
  explicit CheckpointWriter(parallel::Communicator& ranks);
  // Finishes a save in progress first. While an exception propagates, the other ranks may never
  // take part in it, so it gets only a few seconds.
  ~CheckpointWriter();

  // Waits for the previous save, copies the pieces and returns; the pieces may then change.
  // `after_commit` (may be empty; an exception from it becomes a warning) is called by the save's
  // thread on every rank once the checkpoint is committed. `may_write` is called as by
  // save_checkpoint(), from the save's thread. Throws Error if this rank has no memory for the
  // copy.
  void begin(const base::Path& directory, std::span<const TensorPiece> pieces, std::int64_t step,
             const std::string& state_json, std::function<void()> after_commit,
             std::function<void()> may_write = {});

  // Called after every step: costs nothing without a save in progress, else one small all-reduce.
  void poll();
  // Waits until the save in progress, if any, is committed.
  void finish();

  bool under_way() const { return begun_; }  // the same on all ranks

 private:
  void save(const base::Path& directory, std::span<const TensorPiece> pieces, std::int64_t step,
            const std::string& state_json, const std::function<void()>& after_commit,
            const std::function<void()>& may_write);

  parallel::Communicator& ranks_;
  std::unique_ptr<parallel::Communicator> own_;  // of the save's thread
  Snapshot snapshot_;
  const int exceptions_at_start_;
  bool begun_ = false;  // a save has begun, and not all ranks have seen its end

  std::mutex mutex_;  // guards what the save's thread reports:
  std::condition_variable changed_;
  bool ended_ = false;
  bool alone_ = false;  // this rank failed without the others (a lost message, no memory)
  std::exception_ptr failure_;
  std::thread thread_;
};

}  // namespace eyrie::checkpoint
