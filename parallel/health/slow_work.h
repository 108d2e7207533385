// Marks work for which the ranks of a communicator may wait longer than usual: other ranks write or
// read files, and a disk may be slow without being broken.
#pragma once

#include "parallel/communication/communicator.h"

namespace eyrie::parallel {

// While it lives, the watch against hangs multiplies the time limit of this communicator's
// operations by ten. At most one per communicator at a time.
class SlowWork {
 public:
  explicit SlowWork(Communicator& communicator);
  ~SlowWork();
  SlowWork(const SlowWork&) = delete;
  SlowWork& operator=(const SlowWork&) = delete;

 private:
  const Progress* progress_;  // null: not watched
};

// The factor by which an operation's time limit is currently multiplied. Any thread.
double limit_factor_of(const Progress& progress);

}  // namespace eyrie::parallel
