// Asynchronous saving: the copy, the thread, and how all ranks agree on its end.
#include "checkpoint/writer.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <new>
#include <utility>

#include <fmt/format.h>

#include "base/crash.h"
#include "base/error.h"
#include "base/log.h"
#include "checkpoint/format.h"
#include "checkpoint/save.h"
#include "parallel/communication/run_guarded.h"
#include "parallel/health/slow_work.h"
#include "tensor/threads.h"

namespace eyrie::checkpoint {
namespace {

constexpr std::size_t kBucketBytes = std::size_t{64} << 20;
constexpr std::int64_t kCopyGrain = 1 << 20;  // bytes per thread
// How long a save in progress may take while an error ends the job. Less than the ten seconds
// within which a failure must end it.
constexpr std::chrono::seconds kLastWait{3};

std::size_t rounded_up(std::size_t bytes) { return (bytes + 63) / 64 * 64; }

std::size_t bytes_of(const TensorPiece& piece) {
  return static_cast<std::size_t>(piece.flat_count) * base::size_of(stored_type(piece.type));
}

}  // namespace

std::span<const TensorPiece> Snapshot::take(std::span<const TensorPiece> pieces) {
  // Puts piece after piece into one bucket until it is full; a larger piece has a bucket of its
  // own.
  std::vector<std::size_t> sizes;
  std::vector<std::pair<std::size_t, std::size_t>> places;  // bucket, byte in it
  for (const TensorPiece& piece : pieces) {
    const std::size_t bytes = rounded_up(bytes_of(piece));
    if (sizes.empty() || sizes.back() + bytes > kBucketBytes) sizes.push_back(0);
    places.emplace_back(sizes.size() - 1, sizes.back());
    sizes.back() += bytes;
  }
  if (sizes != sizes_) {  // the first time, and when a stage has other pieces
    buckets_.clear();
    bytes_ = 0;
    for (const std::size_t size : sizes) bytes_ += size;
    try {
      for (const std::size_t size : sizes) buckets_.emplace_back(size);
    } catch (const std::bad_alloc&) {
      throw base::Error(fmt::format(
          "no memory for the copy of a checkpoint: this rank needs {:.1f} MB more; use more ranks, "
          "or set checkpoint.async to false, which writes without a copy while the training waits",
          static_cast<double>(bytes_) * 1e-6));
    }
    sizes_ = std::move(sizes);
    base::log_info(
        fmt::format("checkpoints are copied before they are written: {:.1f} MB of this "
                    "rank's memory",
                    static_cast<double>(bytes_) * 1e-6));
  }
  copies_.assign(pieces.begin(), pieces.end());
  for (std::size_t i = 0; i < copies_.size(); ++i) {
    const auto [bucket, at] = places[i];
    auto* to = static_cast<std::byte*>(buckets_[bucket].data()) + at;
    const auto* from = static_cast<const std::byte*>(pieces[i].data);
    tensor::parallel_for(static_cast<std::int64_t>(bytes_of(pieces[i])), kCopyGrain,
                         [&](std::int64_t begin, std::int64_t end) {
                           std::memcpy(to + begin, from + begin,
                                       static_cast<std::size_t>(end - begin));
                         });
    copies_[i].data = to;
  }
  return copies_;
}

CheckpointWriter::CheckpointWriter(parallel::Communicator& ranks)
    : ranks_(ranks), own_(ranks.duplicate()), exceptions_at_start_(std::uncaught_exceptions()) {}

CheckpointWriter::~CheckpointWriter() {
  if (!thread_.joinable()) return;
  if (std::uncaught_exceptions() > exceptions_at_start_) {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, kLastWait, [this] { return ended_; })) own_->interrupt();
  }
  thread_.join();
  if (!failure_) return;
  try {
    std::rethrow_exception(failure_);
  } catch (const std::exception& error) {
    base::log_warning(error.what());
  } catch (...) {
    base::log_warning("a checkpoint was not saved: an exception that is no std::exception");
  }
}

void CheckpointWriter::begin(const base::Path& directory, std::span<const TensorPiece> pieces,
                             std::int64_t step, const std::string& state_json,
                             std::function<void()> after_commit, std::function<void()> may_write) {
  finish();
  const std::span<const TensorPiece> copies = snapshot_.take(pieces);
  ended_ = alone_ = false;
  thread_ = std::thread([=, this, rank = base::rank()] {
    base::set_rank(rank);
    base::use_signal_stack();
    save(directory, copies, step, state_json, after_commit, may_write);
  });
  begun_ = true;
}

void CheckpointWriter::save(const base::Path& directory, std::span<const TensorPiece> pieces,
                            std::int64_t step, const std::string& state_json,
                            const std::function<void()>& after_commit,
                            const std::function<void()>& may_write) {
  std::exception_ptr failure;
  bool alone = false;
  const parallel::SlowWork slow(*own_);
  try {
    save_checkpoint(directory, *own_, pieces, step, state_json, may_write);
  } catch (const std::exception& error) {
    failure = std::current_exception();
    alone = own_->size() > 1 && dynamic_cast<const parallel::AgreedFailure*>(&error) == nullptr;
  } catch (...) {
    failure = std::current_exception();
    alone = own_->size() > 1;
  }
  // The checkpoint is committed: no later error may end the training.
  try {
    if (!failure && after_commit) after_commit();
  } catch (const std::exception& error) {
    base::log_warning(fmt::format("after the checkpoint of step {}: {}", step, error.what()));
  } catch (...) {
    base::log_warning(fmt::format(
        "after the checkpoint of step {}: an exception that is no std::exception", step));
  }
  // The threads of all ranks end together: while one removes files, the others wait here and not in
  // the training's own collectives.
  try {
    if (!alone) own_->barrier();
  } catch (...) {
    if (!failure) failure = std::current_exception();
    alone = true;
  }
  const std::lock_guard lock(mutex_);
  failure_ = failure;
  alone_ = alone;
  ended_ = true;
  changed_.notify_all();
}

void CheckpointWriter::poll() {
  if (!begun_) return;
  std::int64_t ended = 0;
  bool alone = false;
  {
    const std::lock_guard lock(mutex_);
    ended = ended_ ? 1 : 0;
    alone = alone_;
  }
  if (alone) return finish();  // throws; the other ranks' threads wait for this one in vain
  // The threads of the ranks see the end at different times; all ranks finish after the same step.
  ranks_.all_reduce(std::span<std::int64_t>(&ended, 1), parallel::Reduce::kMin);
  if (ended != 0) finish();
}

void CheckpointWriter::finish() {
  if (!begun_) return;
  thread_.join();
  begun_ = false;
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
}

}  // namespace eyrie::checkpoint
