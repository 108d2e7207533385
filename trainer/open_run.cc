// Opens a run on this job's ranks.
#include "trainer/open_run.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "base/listing.h"
#include "base/log.h"
#include "base/output_place.h"
#include "base/process_name.h"
#include "data_pipeline/local_copy.h"
#include "tensor/threads.h"
#include "trainer/bytes.h"
#include "trainer/resolve_mesh.h"
#include "trainer/run_facts.h"
#include "trainer/run_folder.h"

namespace eyrie::trainer {

OpenRun::OpenRun(const RunConfig& config, parallel::Communicator& world,
                 const TrainOptions& options)
    : config_(config), world_(world), options_(options), directory_(config.directory) {
  const auto hosts = world_.all_gather(base::host_name());
  parallel::agree(world_, [&] {
    mesh_ = resolved_mesh(hosts);
    check_until_stage();
    if (first() && options_.fresh && base::is_there(directory_)) {
      throw base::InputError(
          fmt::format("{} is there already and --fresh does not touch it; choose another name (or "
                      "directory), or leave out --fresh to go on",
                      directory_.string()));
    }
    if (first()) check_run_folder(config_);
  });
  // A check reads them where they are: the nodes of the job have other disks.
  const base::Path local = options_.check ? base::Path{} : options_.local_shards;
  if (!local.empty()) copy_shards(hosts, local);
  parallel::agree(world_, [&] { data_ = open_run_data(config_, local); });
  if (config_.recompute_auto) agree_on_recompute();
  if (first()) {
    for (const std::string& warning : data_.warnings) base::log_warning(warning);
  }
  parallel::Facts facts;
  parallel::agree(world_, [&] { facts = data_facts(config_, data_); });
  parallel::check_same(world_, facts);
  if (!options_.check) claim_folder();
  peer_monitor_ = std::make_unique<parallel::PeerMonitor>(
      world_, static_cast<double>(config_.watchdog_seconds));
}

// The first rank of each host copies. `hosts`: of every rank.
void OpenRun::copy_shards(const std::vector<std::string>& hosts, const base::Path& local) {
  const auto rank = static_cast<std::size_t>(world_.rank());
  const auto first_here = std::find(hosts.begin(), hosts.end(), hosts[rank]) - hosts.begin();
  parallel::agree(world_, [&] {
    if (first_here != world_.rank()) return;
    std::set<std::string> folders;
    for (const StageConfig& stage : config_.stages) folders.insert(stage.shards);
    for (const std::string& folder : folders) {
      const auto done = data_pipeline::copy_to_local(folder, local);
      if (first())
        base::log_info(fmt::format(
            "shards of {}: {} ({}) copied to {} on each node, {} were there and are the same",
            folder, base::counted(done.files_copied, "file"), bytes_text(done.bytes_copied),
            local.string(), done.files_kept));
    }
  });
}

void OpenRun::check_until_stage() const {
  const std::string& until = options_.until_stage;
  std::vector<std::string> names;
  for (const StageConfig& stage : config_.stages) names.push_back(stage.name);
  if (until.empty() || std::find(names.begin(), names.end(), until) != names.end()) return;
  throw base::InputError(fmt::format("--until-stage {}: the run has no such stage; it has {}",
                                     until, fmt::join(names, ", ")));
}

// For the ranks and hosts of this job, or for a check those of a planned one. `hosts`: of every
// rank.
parallel::MeshShape OpenRun::resolved_mesh(const std::vector<std::string>& hosts) {
  const bool elsewhere = options_.check && options_.ranks > 0;
  int ranks = world_.size();
  auto different = static_cast<int>(std::set<std::string>(hosts.begin(), hosts.end()).size());
  auto here = static_cast<int>(
      std::count(hosts.begin(), hosts.end(), hosts[static_cast<std::size_t>(world_.rank())]));
  if (elsewhere) {
    ranks = options_.ranks;
    different = std::max(options_.hosts, 1);
    here = (ranks + different - 1) / different;
  }
  const parallel::MeshShape mesh = resolve_mesh(config_, ranks, different);
  if (options_.plan_memory) planned_ = options_.plan_memory(config_, mesh, here, elsewhere);
  const std::vector<std::string> warnings = {
      planned_.warning, elsewhere ? "" : check_threads(config_, options_.check)};
  for (const std::string& warning : warnings)
    if (first() && !warning.empty()) base::log_warning(warning);
  return mesh;
}

// Hosts may differ in their memory: the one with the least decides for all.
void OpenRun::agree_on_recompute() {
  double most = static_cast<double>(planned_.recompute);
  world_.all_reduce(std::span<double>(&most, 1), parallel::Reduce::kMax);
  config_.recompute = static_cast<model::Recompute>(static_cast<int>(most));
  if (first()) base::log_info(fmt::format("recompute auto: {}", model::name_of(config_.recompute)));
}

void OpenRun::claim_folder() {
  const auto processes = world_.gather(base::to_line(base::this_process()), 0);
  parallel::agree(world_, [&] {
    if (!first()) return;
    owner_ = std::make_unique<base::FolderOwner>(
        directory_,
        base::OwnerOptions{.what = "this run",
                           .instead = "to train another run beside it, give it another name (or "
                                      "directory)",
                           .processes = processes});
  });
  owner_mark_ = world_.all_gather(first() ? owner_->mark() : "")[0];
  parallel::agree(world_, [&] { base::see_owner(directory_, owner_mark_); });
}

RunIdentity OpenRun::identity() const {
  return {config_, data_.tokenizer->hash(), data_.fingerprints(), tensor::thread_count(),
          mesh_,   data_.shards()};
}

}  // namespace eyrie::trainer
