// Tries a folder from every node.
#include "planning/folder_check.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "base/listing.h"

namespace eyrie::planning {
namespace {

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

constexpr std::size_t kBytes = std::size_t{64} << 20;

void write_and_read(const base::Path& path, FolderCheck& check) {
  std::vector<std::byte> bytes(kBytes);
  for (std::size_t i = 0; i < kBytes; ++i) bytes[i] = static_cast<std::byte>(i * 7 + i / 4096);
  base::File file = base::File::create(path);
  const Clock::time_point start = Clock::now();
  file.write_at(bytes, 0);
  file.sync();
  check.write_speed = kBytes / seconds_since(start);
  // What was written is asked for anew, as far as the file system heeds the advice.
  posix_fadvise(file.descriptor(), 0, 0, POSIX_FADV_DONTNEED);
  const Clock::time_point again = Clock::now();
  file.read_at(bytes, 0);
  check.read_speed = kBytes / seconds_since(again);
  file.close();
}

}  // namespace

std::vector<FolderCheck> check_folder(parallel::Communicator& world, const base::Path& folder,
                                      const std::vector<int>& leaders) {
  std::vector<FolderCheck> all(leaders.size());
  if (folder.empty()) return all;
  FolderCheck own;
  const bool leads = std::find(leaders.begin(), leaders.end(), world.rank()) != leaders.end();
  const std::string mark = world.all_gather(base::temporary_name(folder / "doctor"))[0];
  const base::Path data = fmt::format("{}.{}", mark, world.rank()), renamed = mark + ".renamed";
  const auto attempt = [&](const auto& work) {
    if (!leads || !own.fault.empty()) return;
    try {
      work();
    } catch (const std::exception& error) {
      own.fault = error.what();
    }
  };
  attempt([&] { write_and_read(data, own); });
  attempt([&] { base::remove_tree(data); });
  world.barrier();
  // The moment is that of the barrier: all ranks wait until the file has its name.
  if (world.rank() == 0) {
    attempt([&] {
      base::write_file(mark + ".first", "seen");
      base::rename_file(mark + ".first", renamed);
    });
  }
  world.barrier();
  const Clock::time_point start = Clock::now();
  own.seen_after = -1;
  while (leads && seconds_since(start) < 10) {
    bool there = false;
    attempt([&] { there = base::is_there(renamed); });
    if (there) {
      own.seen_after = seconds_since(start);
      break;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  world.barrier();
  if (world.rank() == 0) attempt([&] { base::remove_tree(renamed); });
  const auto numbers = world.all_gather_values(std::span<const double>(
      std::vector<double>{own.write_speed, own.read_speed, own.seen_after}));
  const auto faults = world.all_gather(own.fault);
  for (std::size_t node = 0; node < leaders.size(); ++node) {
    const auto rank = static_cast<std::size_t>(leaders[node]);
    all[node] = {numbers[rank][0], numbers[rank][1], numbers[rank][2], faults[rank]};
  }
  return all;
}

}  // namespace eyrie::planning
