// A run as this job's ranks have it before they train: its configuration, mesh, data and folder,
// with all that can be wrong found.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/owner.h"
#include "parallel/health/peer_monitor.h"
#include "trainer/run_data.h"
#include "trainer/run_state.h"
#include "trainer/trainer.h"

namespace eyrie::trainer {

class OpenRun {
 public:
  // Collective. Throws InputError on all ranks. Unless the run is only checked, takes its folder
  // for this job. world and options must outlive the object.
  OpenRun(const RunConfig& config, parallel::Communicator& world, const TrainOptions& options);

  const RunConfig& config() const { return config_; }
  parallel::Communicator& world() const { return world_; }
  const TrainOptions& options() const { return options_; }
  const base::Path& directory() const { return directory_; }
  const RunData& data() const { return data_; }
  const parallel::MeshShape& mesh() const { return mesh_; }
  const PlannedMemory& planned() const { return planned_; }
  parallel::PeerMonitor& peer_monitor() const { return *peer_monitor_; }
  bool first() const { return world_.rank() == 0; }
  RunIdentity identity() const;

  // Throws Error if another job took the run over. Any rank, any thread.
  void check_owner() const { base::check_owner(directory_, owner_mark_); }
  void show_presence() const { owner_->check_seen(); }  // first rank

 private:
  void check_until_stage() const;
  void copy_shards(const std::vector<std::string>& hosts, const base::Path& local);
  parallel::MeshShape resolved_mesh(const std::vector<std::string>& hosts);
  void agree_on_recompute();
  void claim_folder();

  RunConfig config_;  // `recompute: auto` is decided
  parallel::Communicator& world_;
  const TrainOptions& options_;
  const base::Path directory_;
  RunData data_;
  parallel::MeshShape mesh_;
  PlannedMemory planned_;
  std::unique_ptr<base::FolderOwner> owner_;  // on the first rank
  std::string owner_mark_;                    // the same on all ranks
  std::unique_ptr<parallel::PeerMonitor> peer_monitor_;
};

}  // namespace eyrie::trainer
