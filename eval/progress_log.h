// Logs the progress of a running evaluation and the estimated time left.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string>

#include "base/log.h"

namespace eyrie::eval {

// Logs at most every few seconds.
class ProgressLog {
 public:
  explicit ProgressLog(std::string task) : task_(std::move(task)) {}
  void operator()(std::int64_t done, std::int64_t of) {
    const auto now = std::chrono::steady_clock::now();
    if (now - last_ < std::chrono::seconds(3) && done < of) return;
    last_ = now;
    const double seconds = std::chrono::duration<double>(now - start_).count();
    base::log_info(
        done < of ? fmt::format("evaluating {}: {} of {} requests of this rank, {:.0f} s left",
                                task_, done, of,
                                seconds / static_cast<double>(std::max<std::int64_t>(done, 1)) *
                                    static_cast<double>(of - done))
                  : fmt::format("evaluated {}: {} requests of this rank in {:.1f} s", task_, of,
                                seconds));
  }

 private:
  std::string task_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now(), last_ = start_;
};

}  // namespace eyrie::eval
