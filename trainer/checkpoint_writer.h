// Checkpoints written behind the training: a step's border pays for a copy in memory, a thread of
// this rank does the rest.
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
#include "parallel/communicator.h"
#include "tensor/arena.h"
#include "trainer/checkpoint.h"

namespace eyrie::trainer {

// Copies of a rank's pieces, in buckets that are used again by the next copy: no more memory than
// the pieces of this rank have bytes (each rounded up to 64), whatever the number of copies.
class Snapshot {
 public:
  // Copies, with all threads of the caller. The result lives until the next take().
  std::span<const TensorPiece> take(std::span<const TensorPiece> pieces);
  std::size_t bytes() const { return bytes_; }  // held by the buckets

 private:
  std::vector<tensor::Buffer> buckets_;
  std::vector<std::size_t> sizes_;  // of the buckets
  std::vector<TensorPiece> copies_;
  std::size_t bytes_ = 0;
};

// One save at a time is under way. All calls are for one thread (the training's), and collective:
// every rank makes the same ones in the same order. The save itself has a thread and a communicator
// of its own.
//
// What goes wrong in a save is thrown, on all ranks alike, by the first poll(), finish() or begin()
// after it; it is what save_checkpoint() throws, and the same holds: no other checkpoint was
// touched.
class CheckpointWriter {
 public:
  // Collective. `ranks` must outlive the writer; used by the calling thread alone.
  explicit CheckpointWriter(parallel::Communicator& ranks);
  // A save that is under way is finished first. With an error on its way out the other ranks may
  // never come to it: then it gets a few seconds.
  ~CheckpointWriter();

  // Waits for the save before, copies the pieces and returns; the pieces may change at once.
  // `after_commit` (may be empty; what it throws becomes a warning) is called by the save's thread
  // on every rank once the checkpoint is committed. Error: this rank has no memory for the copy.
  // `may_write`: as save_checkpoint() calls it, from the save's thread.
  void begin(const base::Path& directory, std::span<const TensorPiece> pieces, std::int64_t step,
             const std::string& state_json, std::function<void()> after_commit,
             std::function<void()> may_write = {});

  // At every step's border: costs nothing without a save under way, else one small reduction.
  void poll();
  // Waits until the save under way, if any, is committed.
  void finish();

  bool under_way() const { return begun_; }  // the same answer on all ranks

 private:
  void save(const base::Path& directory, std::span<const TensorPiece> pieces, std::int64_t step,
            const std::string& state_json, const std::function<void()>& after_commit,
            const std::function<void()>& may_write);

  parallel::Communicator& ranks_;
  std::unique_ptr<parallel::Communicator> own_;  // the save's thread's
  Snapshot snapshot_;
  const int exceptions_at_start_;
  bool begun_ = false;  // and its end not yet seen by all ranks

  std::mutex mutex_;  // guards what the thread tells:
  std::condition_variable changed_;
  bool ended_ = false;
  bool alone_ = false;  // this rank failed without the others (a lost message, no memory)
  std::exception_ptr failure_;
  std::thread thread_;
};

}  // namespace eyrie::trainer
