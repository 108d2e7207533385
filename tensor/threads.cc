// parallel_for over OpenMP.
#include "tensor/threads.h"

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <exception>

#include "base/crash.h"
#include "tensor/cores.h"

namespace eyrie::tensor {

int thread_count() { return omp_in_parallel() ? 1 : omp_get_max_threads(); }

void set_thread_count(int threads) {
  threads = std::max(threads, 1);
  omp_set_num_threads(threads);
  // Crash handlers need an alternate stack on the threads that compute products.
  if (threads > 1 && !omp_in_parallel()) {
#pragma omp parallel num_threads(threads)
    base::use_signal_stack();
  }
}

int cores() { return static_cast<int>(core_list().size()); }

namespace {

// Runs body() on `threads` threads. An exception must not leave an OpenMP region.
void in_parallel(std::int64_t threads, const std::function<void()>& body) {
  std::exception_ptr failure;
#pragma omp parallel num_threads(static_cast <int>(threads))
  {
    base::use_signal_stack();
    try {
      body();
    } catch (...) {
#pragma omp critical(eyrie_parallel_for)
      failure = std::current_exception();
    }
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace

void parallel_for(std::int64_t count, std::int64_t grain,
                  const std::function<void(std::int64_t, std::int64_t)>& body) {
  if (count <= 0) return;
  grain = std::max<std::int64_t>(grain, 1);
  const std::int64_t pieces = std::min<std::int64_t>(thread_count(), (count + grain - 1) / grain);
  if (pieces <= 1) return body(0, count);
  in_parallel(pieces, [&] {
    // The runtime may give fewer threads than requested, so the split uses their actual number.
    const std::int64_t threads = omp_get_num_threads(), mine = omp_get_thread_num();
    const std::int64_t begin = count * mine / threads, end = count * (mine + 1) / threads;
    if (begin < end) body(begin, end);
  });
}

void parallel_tasks(std::int64_t count, const std::function<void(std::int64_t, int)>& body) {
  const std::int64_t threads = std::min<std::int64_t>(thread_count(), count);
  if (threads <= 1) {
    for (std::int64_t task = 0; task < count; ++task) body(task, 0);
    return;
  }
  std::atomic<std::int64_t> next = 0;
  in_parallel(threads, [&] {
    for (std::int64_t task = next++; task < count; task = next++) body(task, omp_get_thread_num());
  });
}

}  // namespace eyrie::tensor
