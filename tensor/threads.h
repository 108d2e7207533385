// Threads of one rank: OpenMP underneath, work split in equal contiguous ranges. Every operation is
// written so that its bits do not depend on the split: a thread owns whole output elements.
#pragma once

#include <cstdint>
#include <functional>

namespace eyrie::tensor {

int thread_count();
void set_thread_count(int threads);  // for the calling thread's parallel regions
int cores();                         // that this process may use

// body(begin, end) over a split of [0, count); pieces of at least `grain` (but for the last). Runs
// in the calling thread alone when there is nothing to split or when called from inside of another
// parallel_for.
void parallel_for(std::int64_t count, std::int64_t grain,
                  const std::function<void(std::int64_t begin, std::int64_t end)>& body);

}  // namespace eyrie::tensor
