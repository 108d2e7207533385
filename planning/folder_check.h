// How fast each node writes and reads a folder, and when it sees what another node renamed.
#pragma once

#include <string>
#include <vector>

#include "base/file.h"
#include "parallel/communication/communicator.h"

namespace eyrie::planning {

struct FolderCheck {
  double write_speed = 0, read_speed = 0;  // bytes per second; 0: not tried
  double seen_after = 0;  // seconds after the first node renamed a file; −1: not within 10
  std::string fault;      // why it failed
};

// Collective. Of each node in the order of `leaders`, the first ranks of the nodes; all of it on
// every rank. Leaves nothing behind. Empty folder: nothing is tried.
std::vector<FolderCheck> check_folder(parallel::Communicator& world, const base::Path& folder,
                                      const std::vector<int>& leaders);

}  // namespace eyrie::planning
