// Work for which the ranks of a communicator may wait longer than usual: files that others write or
// read. A disk may be slow without being broken.
#pragma once

#include "parallel/communicator.h"

namespace eyrie::parallel {

// While it lives, the watch against hangs gives each operation of this communicator ten times its
// limit. One at a time for each communicator.
class SlowWork {
 public:
  explicit SlowWork(Communicator& communicator);
  ~SlowWork();
  SlowWork(const SlowWork&) = delete;
  SlowWork& operator=(const SlowWork&) = delete;

 private:
  const Progress* progress_;  // null: nobody watches
};

// How many times the limit an operation may last now. Any thread.
double patience_with(const Progress& progress);

}  // namespace eyrie::parallel
