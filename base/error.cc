// Errors: the rank of a thread, the nearest known word, and the abort on a broken invariant.
#include "base/error.h"

#include <execinfo.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>

#include <fmt/format.h>

#include "base/shown.h"

namespace eyrie::base {
namespace {

thread_local int this_rank = -1;

// Edit distance that counts a swap of two neighbours as one edit (optimal string alignment). Case
// is ignored.
std::size_t edit_distance(const std::string& a, const std::string& b) {
  auto same = [](char x, char y) {
    return std::tolower(static_cast<unsigned char>(x)) ==
           std::tolower(static_cast<unsigned char>(y));
  };
  std::vector<std::vector<std::size_t>> cost(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
  for (std::size_t i = 0; i <= a.size(); ++i) {
    for (std::size_t j = 0; j <= b.size(); ++j) {
      if (i == 0 || j == 0) {
        cost[i][j] = i + j;
        continue;
      }
      cost[i][j] = std::min({cost[i - 1][j] + 1, cost[i][j - 1] + 1,
                             cost[i - 1][j - 1] + (same(a[i - 1], b[j - 1]) ? 0 : 1)});
      if (i > 1 && j > 1 && same(a[i - 1], b[j - 2]) && same(a[i - 2], b[j - 1])) {
        cost[i][j] = std::min(cost[i][j], cost[i - 2][j - 2] + 1);
      }
    }
  }
  return cost[a.size()][b.size()];
}

}  // namespace

void set_rank(int rank) { this_rank = rank; }

int rank() { return this_rank; }

std::string with_rank(const std::string& message) {
  return this_rank < 0 ? message : fmt::format("rank {}: {}", this_rank, message);
}

std::string counted(std::int64_t count, const std::string& what) {
  return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

std::string nearest(const std::string& word, const std::vector<std::string>& candidates) {
  std::string best;
  // A third of the letters may be wrong: "stpes" is close to "steps", "data" is not close to
  // "seed".
  std::size_t limit = std::max<std::size_t>(1, word.size() / 3) + 1;
  for (const std::string& candidate : candidates) {
    const std::size_t distance = edit_distance(word, candidate);
    if (distance < limit && distance < std::max(word.size(), candidate.size())) {
      best = candidate;
      limit = distance;
    }
  }
  return best;
}

void check_failed(const char* file, int line, const char* condition, const std::string& message) {
  const std::string text = shown_lines(fmt::format(
      "{}\n",
      with_rank(fmt::format("{}:{}: check failed: {}: {}", file, line, condition, message))));
  // Straight to the descriptor: the broken code may hold the streams' locks.
  (void)!::write(STDERR_FILENO, text.data(), text.size());
  void* frames[64];
  const int depth = ::backtrace(frames, 64);
  ::backtrace_symbols_fd(frames, depth, STDERR_FILENO);
  std::abort();
}

}  // namespace eyrie::base
