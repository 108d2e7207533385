// Which commands use all ranks of a launcher, and warnings for those that do not.
#include "cli/launched.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "base/log.h"
#include "parallel/communication/launch.h"

namespace eyrie::cli {

namespace {

// Returns whether the command divides its work among all ranks that a launcher started.
bool works_on_all_ranks(const std::string& command) {
  constexpr std::array<std::string_view, 7> kCommands = {
      "train", "eval", "score", "data build", "data screen", "doctor", "replay"};
  return std::find(kCommands.begin(), kCommands.end(), command) != kCommands.end();
}

}  // namespace

bool is_idle_rank(const std::string& command) {
  if (works_on_all_ranks(command)) return false;
  const parallel::Launch launch = parallel::launch_of_environment();
  if (launch.ranks <= 1) return false;
  if (launch.rank > 0) return true;
  base::log_warning(
      fmt::format("eyrie {} works on one rank: the other {} that the launcher started do nothing",
                  command, launch.ranks - 1));
  return false;
}

void warn_of_unused_allocation(const std::string& command) {
  const parallel::UnusedAllocation unused = parallel::unused_allocation();
  if (unused.empty()) return;
  base::log_warning(
      fmt::format("this is {}, and eyrie {} works on one rank of it alone: start it with `{} eyrie "
                  "{} …` to use all",
                  unused.what, command, unused.launcher, command));
}

}  // namespace eyrie::cli
