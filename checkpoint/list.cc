// The checkpoints of a run: which exist, and the newest valid one.
#include "checkpoint/list.h"

#include <algorithm>
#include <charconv>
#include <functional>
#include <map>

#include <fmt/format.h>

#include "base/error.h"
#include "base/listing.h"
#include "base/log.h"
#include "checkpoint/format.h"
#include "checkpoint/reader.h"

namespace eyrie::checkpoint {
namespace {

// Returns the step in "step-00000200" or "step-00000200.replaced"; -1 for another name.
std::int64_t step_of(std::string name, bool* replaced) {
  constexpr std::string_view kPrefix = "step-";
  *replaced = name.ends_with(kReplacedSuffix);
  if (*replaced) name.resize(name.size() - std::string_view(kReplacedSuffix).size());
  if (!name.starts_with(kPrefix) || name.size() < kPrefix.size() + 8) return -1;
  std::int64_t step = -1;
  const auto [end, error] =
      std::from_chars(name.data() + kPrefix.size(), name.data() + name.size(), step);
  return error == std::errc() && end == name.data() + name.size() ? step : -1;
}

// Returns the newest one that can be used; `fault` returns why one cannot.
std::optional<base::Path> newest(const std::vector<CheckpointInfo>& all,
                                 std::vector<std::string>* why_not,
                                 const std::function<std::string(const base::Path&)>& fault) {
  for (auto info = all.rbegin(); info != all.rend(); ++info) {
    const std::string reason = fault(info->path);
    if (reason.empty()) return info->path;
    if (why_not != nullptr) why_not->push_back("checkpoint passed over: " + reason);
  }
  return std::nullopt;
}

}  // namespace

base::Path checkpoint_path(const base::Path& run_directory, std::int64_t step) {
  return run_directory / "checkpoints" / fmt::format("step-{:08d}", step);
}

std::string fault_when(const base::Path& path, const std::function<void()>& look) {
  try {
    look();
    return "";
  } catch (const DamagedCheckpoint& error) {
    const std::string fault = error.what();
    // A file without permission to read it is not damaged: throws Error.
    for (const base::Path& file : base::list_folder(path)) base::check_readable(file);
    return fault;
  } catch (const base::InputError&) {
    throw;  // sound, but not what `look` wants
  } catch (const base::Error& error) {
    throw base::Error(fmt::format(
        "{}; the checkpoint {} may be sound, so no other is taken in its place. If it stays so, "
        "move that folder away: the run then goes on from the checkpoint before it",
        error.what(), path.string()));
  }
}

std::string fault_of(const base::Path& path, bool thorough, int part, int parts) {
  return fault_when(path, [&] {
    const CheckpointReader reader(path);
    if (thorough) reader.verify(part, parts);
  });
}

std::vector<CheckpointInfo> list_checkpoints(const base::Path& checkpoints_directory) {
  std::map<std::int64_t, CheckpointInfo> found;
  for (const base::Path& entry : base::list_folder(checkpoints_directory)) {
    bool replaced = false;
    const std::int64_t step = step_of(entry.filename().string(), &replaced);
    if (step < 0 || !base::is_folder(entry)) continue;
    const bool complete = base::is_there(entry / kManifestName);
    // One that was moved aside counts only if its successor was never finished.
    const auto [other, added] = found.emplace(step, CheckpointInfo{entry, step, complete});
    if (!added && complete && (!replaced || !other->second.complete)) {
      other->second = {entry, step, complete};
    }
  }
  std::vector<CheckpointInfo> all;
  for (auto& [step, info] : found) all.push_back(std::move(info));
  return all;
}

base::Path open_newest_checkpoint(const base::Path& run_directory) {
  std::vector<std::string> why_not;
  const auto newest = newest_valid_checkpoint(run_directory, &why_not);
  for (const std::string& why : why_not) base::log_warning(why);
  if (newest) return *newest;
  throw base::InputError(run_directory.string() +
                         (why_not.empty() ? ": the run has no checkpoint yet"
                                          : ": no checkpoint of this run is sound (the warnings "
                                            "above say why)"));
}

std::optional<base::Path> newest_valid_checkpoint(const base::Path& run_directory,
                                                  std::vector<std::string>* why_not) {
  return newest(list_checkpoints(run_directory / "checkpoints"), why_not,
                [](const base::Path& path) { return fault_of(path, true); });
}

std::optional<base::Path> newest_valid_checkpoint(
    const base::Path& run_directory, parallel::Communicator& communicator,
    std::vector<std::string>* why_not, const std::function<bool(std::int64_t)>& wanted,
    const std::function<void(const base::Path&)>& use) {
  // Rank 0's list is used: other ranks may see changes in a shared directory later.
  std::string names;
  parallel::agree(communicator, [&] {
    if (communicator.rank() != 0) return;
    for (const CheckpointInfo& info : list_checkpoints(run_directory / "checkpoints")) {
      if (!wanted || wanted(info.step)) names += info.path.filename().string() + "\n";
    }
  });
  names = communicator.all_gather(names)[0];
  std::vector<CheckpointInfo> all;
  for (std::size_t at = 0; at < names.size();) {
    const std::size_t end = names.find('\n', at);
    all.push_back({run_directory / "checkpoints" / names.substr(at, end - at), 0, true});
    at = end + 1;
  }
  return newest(all, why_not, [&](const base::Path& path) {
    std::string mine;
    parallel::agree(communicator, [&] {
      mine = use ? fault_when(path, [&] { use(path); })
                 : fault_of(path, true, communicator.rank(), communicator.size());
    });
    for (std::string& reason : communicator.all_gather(mine)) {
      if (!reason.empty()) return std::move(reason);
    }
    return std::string();
  });
}

}  // namespace eyrie::checkpoint
