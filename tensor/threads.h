// Threads of one rank: OpenMP, with work split into equal contiguous ranges. Every operation is
// written so that its bits do not depend on the split: each output element is computed by one
// thread.
#pragma once

#include <cstdint>
#include <functional>

namespace eyrie::tensor {

int thread_count();
void set_thread_count(int threads);  // for the calling thread's parallel regions
int cores();                         // that this process may use

// Calls body(begin, end) for a split of [0, count) over the threads, into ranges of about `grain`
// or more. Runs in the calling thread alone if there is nothing to split or if called inside
// another parallel_for.
void parallel_for(std::int64_t count, std::int64_t grain,
                  const std::function<void(std::int64_t begin, std::int64_t end)>& body);

// Calls body(task, thread) for each task of [0, count); a thread that is free takes the next one.
// `thread` is below thread_count() and below count, and names memory that the task may use. Runs in
// the calling thread alone where parallel_for does.
void parallel_tasks(std::int64_t count,
                    const std::function<void(std::int64_t task, int thread)>& body);

}  // namespace eyrie::tensor
