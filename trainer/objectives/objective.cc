// Objectives by name.
#include "trainer/objectives/objective.h"

#include "base/error.h"
#include "trainer/objectives/next_token.h"

namespace eyrie::trainer {

std::vector<std::string> objective_names() { return {"next_token"}; }

std::unique_ptr<Objective> make_objective(const std::string& name) {
  EYRIE_CHECK(name == "next_token", "an objective that the configuration does not know: " + name);
  return std::make_unique<NextToken>();
}

}  // namespace eyrie::trainer
