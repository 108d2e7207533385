// Lists and hooks under one lock.
#include "parallel/communication/job.h"

namespace eyrie::parallel {

void Job::add(const std::shared_ptr<const Progress>& progress) {
  const std::lock_guard lock(mutex_);
  std::erase_if(progress_, [](const auto& entry) { return entry.expired(); });
  progress_.push_back(progress);
}

std::vector<std::shared_ptr<const Progress>> Job::all_progress() const {
  std::vector<std::shared_ptr<const Progress>> all;
  const std::lock_guard lock(mutex_);
  for (const auto& entry : progress_) {
    if (auto progress = entry.lock()) all.push_back(std::move(progress));
  }
  return all;
}

void Job::set_before_abort(std::function<void()> hook) {
  const std::lock_guard lock(mutex_);
  before_abort_ = std::move(hook);
}

void Job::run_before_abort() {
  std::function<void()> hook;
  {
    const std::lock_guard lock(mutex_);
    hook = before_abort_;
  }
  if (hook) hook();
}

}  // namespace eyrie::parallel
