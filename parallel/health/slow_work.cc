// The communicators on which slow work is in progress.
#include "parallel/health/slow_work.h"

#include <mutex>
#include <set>

namespace eyrie::parallel {
namespace {

struct Slow {
  std::mutex mutex;
  std::multiset<const Progress*> progress;  // guarded by mutex
};

Slow& slow() {
  static Slow* const made = new Slow;  // never destroyed: threads may outlive main()
  return *made;
}

}  // namespace

SlowWork::SlowWork(Communicator& communicator) : progress_(communicator.progress()) {
  if (progress_ == nullptr) return;
  std::lock_guard lock(slow().mutex);
  slow().progress.insert(progress_);
}

SlowWork::~SlowWork() {
  if (progress_ == nullptr) return;
  std::lock_guard lock(slow().mutex);
  slow().progress.extract(progress_);
}

double limit_factor_of(const Progress& progress) {
  std::lock_guard lock(slow().mutex);
  return slow().progress.contains(&progress) ? 10 : 1;
}

}  // namespace eyrie::parallel
