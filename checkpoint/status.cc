// Inspects checkpoints.
#include "checkpoint/status.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <cerrno>
#include <nlohmann/json.hpp>
#include <system_error>

#include "base/error.h"
#include "base/listing.h"
#include "base/shown.h"
#include "checkpoint/format.h"
#include "checkpoint/reader.h"
#include "checkpoint/retention.h"

namespace eyrie::checkpoint {
namespace {

using nlohmann::json;

// "8 (data 4 × context 1 × tensor 2, ZeRO 3)"
std::string ranks_of(const json& state) {
  if (!state.contains("ranks")) return "";
  const std::string ranks = state["ranks"].dump();
  const auto mesh = state.find("mesh");
  if (mesh == state.end() || !mesh->is_string()) return ranks;
  return fmt::format("{} ({})", ranks, base::shown(mesh->get<std::string>()));
}

void open(CheckpointStatus& status) {
  try {
    const CheckpointReader reader(status.info.path);
    const json state = json::parse(reader.state(), nullptr, false);
    status.validation_loss = validation_loss_of(reader.state());
    if (!state.is_object()) return;
    if (state.contains("stage_name") && state["stage_name"].is_string())
      status.stage = base::shown(state["stage_name"].get<std::string>());
    status.ranks = ranks_of(state);
  } catch (const base::Error& error) {
    status.fault = error.what();
    try {
      fault_of(status.info.path, false);
    } catch (const base::Error&) {
      status.readable = false;
    }
  }
}

}  // namespace

std::vector<CheckpointStatus> describe_checkpoints(const base::Path& run_directory) {
  std::vector<CheckpointStatus> all;
  for (const CheckpointInfo& info : list_checkpoints(run_directory / "checkpoints")) {
    CheckpointStatus& status = all.emplace_back();
    status.info = info;
    status.bytes = bytes_below(info.path);
    struct stat manifest {};
    if (info.complete && ::stat((info.path / kManifestName).c_str(), &manifest) == 0)
      status.written = manifest.st_mtime;
    if (info.complete) open(status);
  }
  CheckpointStatus* newest = nullptr;
  CheckpointStatus* best = nullptr;
  for (CheckpointStatus& status : all) {
    if (!status.info.complete || !status.fault.empty()) continue;
    newest = &status;
    if (status.validation_loss &&
        (best == nullptr || *status.validation_loss <= *best->validation_loss))
      best = &status;
  }
  if (newest != nullptr) newest->newest = true;
  if (best != nullptr) best->best = true;
  return all;
}

std::vector<CheckpointInfo> checkpoints_at(const base::Path& place) {
  if (base::is_there(place / kManifestName)) {
    CheckpointInfo one{place, 0, true};
    try {
      one.step = CheckpointReader(place).step();
    } catch (const base::Error&) {  // the caller finds out what is wrong
    }
    return {one};
  }
  if (!base::is_there(place)) throw base::InputError(place.string() + ": there is no such folder");
  if (!base::is_folder(place / "checkpoints")) {
    throw base::InputError(
        fmt::format("{}: neither a run (a folder with checkpoints/) nor a checkpoint (a folder "
                    "with manifest.json)",
                    place.string()));
  }
  std::vector<CheckpointInfo> all = list_checkpoints(place / "checkpoints");
  if (all.empty()) throw base::InputError(place.string() + ": the run has no checkpoint yet");
  return all;
}

std::vector<std::string> faults_of(const base::Path& checkpoint) {
  try {
    return CheckpointReader(checkpoint).faults();
  } catch (const base::Error& error) {
    return {error.what()};
  }
}

std::uint64_t bytes_below(const base::Path& directory) {
  std::uint64_t bytes = 0;
  for (const base::Path& entry : base::list_folder(directory)) {
    struct stat status {};
    if (::lstat(entry.c_str(), &status) != 0) {
      if (errno == ENOENT) continue;  // removed meanwhile
      throw base::Error(fmt::format("looking at {} failed: {}", entry.string(),
                                    std::generic_category().message(errno)));
    }
    if (S_ISREG(status.st_mode)) bytes += static_cast<std::uint64_t>(status.st_size);
    if (S_ISDIR(status.st_mode)) bytes += bytes_below(entry);
  }
  return bytes;
}

}  // namespace eyrie::checkpoint
