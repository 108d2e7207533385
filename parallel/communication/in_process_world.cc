// Error messages about ranks that did not arrive.
#include "parallel/communication/in_process_world.h"

#include <algorithm>

namespace eyrie::parallel {

std::string late_text(const Group& group, const Progress& own, std::chrono::milliseconds limit) {
  const Progress::State waits = own.state();
  const double seconds = std::chrono::duration<double>(limit).count();
  if (waits.peer >= 0) {
    return fmt::format("{} rank {} on '{}' has not come within {:g} s", waits.operation, waits.peer,
                       own.name(), seconds);
  }
  std::vector<int> arrived, missing;
  for (std::size_t rank = 0; rank < own.members().size(); ++rank) {
    const auto& there = group.progress[rank];
    const bool has = there != nullptr && there->state().number >= waits.number;
    (has ? arrived : missing).push_back(own.members()[rank]);
  }
  std::sort(arrived.begin(), arrived.end());
  std::sort(missing.begin(), missing.end());
  return fmt::format("'{}' {} {} has not ended within {:g} s; arrived: {}; did not arrive: {}",
                     own.name(), waits.operation, waits.number, seconds, rank_list(arrived),
                     rank_list(missing));
}

}  // namespace eyrie::parallel
