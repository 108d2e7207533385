// Logging over spdlog: a sink for stderr and, once there is a run directory, one for the rank's
// file.
#include "base/log.h"

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <memory>
#include <mutex>

#include <fmt/format.h>

#include "base/error.h"
#include "base/file.h"
#include "base/shown.h"

namespace eyrie::base {
namespace {

constexpr const char* kPattern = "[%Y-%m-%d %H:%M:%S] %v";

struct Loggers {
  std::mutex mutex;  // guards the pointer `file`; the loggers themselves are thread-safe
  std::shared_ptr<spdlog::logger> terminal;
  std::shared_ptr<spdlog::logger> file;
};

// Never destroyed: messages may come from threads that outlive main.
Loggers& loggers() {
  static Loggers* const instance = [] {
    auto* made = new Loggers;
    made->terminal = std::make_shared<spdlog::logger>(
        "terminal", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made->terminal->set_pattern(kPattern);
    made->terminal->flush_on(spdlog::level::trace);
    return made;
  }();
  return *instance;
}

void write(spdlog::level::level_enum level, const char* label, const std::string& message) {
  const std::string line = shown_lines(with_rank(label + message));
  Loggers& all = loggers();
  if (level >= spdlog::level::warn || rank() <= 0) all.terminal->log(level, line);
  std::shared_ptr<spdlog::logger> file;
  {
    std::lock_guard lock(all.mutex);
    file = all.file;
  }
  if (file) file->log(level, line);
}

}  // namespace

void log_info(const std::string& message) { write(spdlog::level::info, "", message); }
void log_warning(const std::string& message) { write(spdlog::level::warn, "warning: ", message); }
void log_error(const std::string& message) { write(spdlog::level::err, "error: ", message); }

void log_to_directory(const std::string& directory, int rank) {
  make_directories(directory);
  const std::string path = (Path(directory) / fmt::format("rank-{:04d}.log", rank)).string();
  try {
    auto file = std::make_shared<spdlog::logger>(
        "file", std::make_shared<spdlog::sinks::basic_file_sink_mt>(path));
    file->set_pattern(kPattern);
    file->flush_on(spdlog::level::info);
    Loggers& all = loggers();
    std::lock_guard lock(all.mutex);
    all.file = std::move(file);
  } catch (const spdlog::spdlog_ex& failure) {
    throw Error(fmt::format("cannot open the log file {}: {}", path, failure.what()));
  }
}

void flush_logs() {
  Loggers& all = loggers();
  all.terminal->flush();
  std::lock_guard lock(all.mutex);
  if (all.file) all.file->flush();
}

}  // namespace eyrie::base
