// The page shared by the ranks of a host: POSIX shared memory, unlinked as soon as all have mapped
// it.
#include "parallel/health/host_status.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <fstream>

#include <fmt/format.h>

#include "base/file.h"

namespace eyrie::parallel {
namespace {

std::string first_line(const char* path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

void* map_page(const std::string& name, int flags, std::size_t bytes) {
  const int file = ::shm_open(name.c_str(), flags, 0600);
  if (file < 0) return nullptr;
  void* memory = nullptr;
  if ((flags & O_CREAT) == 0 || ::ftruncate(file, static_cast<off_t>(bytes)) == 0) {
    memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (memory == MAP_FAILED) memory = nullptr;
  }
  ::close(file);
  return memory;
}

}  // namespace

// One byte per rank of the job. All zero at first.
struct HostStatus::Page {
  std::atomic<std::uint32_t> reported;
  std::atomic<std::uint8_t> leaving[1];  // as many as there are ranks
};

HostStatus::~HostStatus() {
  if (page_ != nullptr) ::munmap(page_, bytes_);
}

// The lowest rank of a host creates the page. The others open it by its name, which is then
// unlinked.
void HostStatus::open(Communicator& world, int lowest_peer) {
  rank_ = world.rank();
  bytes_ = sizeof(Page) + static_cast<std::size_t>(world.size());
  const bool makes = lowest_peer >= 0 && rank_ < lowest_peer;
  std::string name;
  void* memory = nullptr;
  if (makes) {
    std::uint64_t random = 0;  // an unpredictable name, and O_EXCL as well
    (void)!::getrandom(&random, sizeof random, 0);
    name = fmt::format("/eyrie-{}-{:016x}", ::getpid(), random);
    memory = map_page(name, O_CREAT | O_EXCL | O_RDWR, bytes_);
  }
  const std::vector<std::string> names = world.all_gather(memory != nullptr ? name : "");
  if (!makes && lowest_peer >= 0 && !names[lowest_peer].empty()) {
    memory = map_page(names[lowest_peer], O_RDWR, bytes_);
  }
  page_ = static_cast<Page*>(memory);
  world.barrier();
  if (makes && memory != nullptr) ::shm_unlink(name.c_str());
}

Leaving HostStatus::leaving(int rank) const {
  return page_ == nullptr ? kRunning : static_cast<Leaving>(page_->leaving[rank].load());
}

void HostStatus::note_leaving(Leaving how) {
  if (page_ != nullptr) page_->leaving[rank_].store(how);
}

bool HostStatus::first_to_report() { return page_ == nullptr || page_->reported.exchange(1) == 0; }

std::string host_key() {
  char space[64] = {};
  (void)!::readlink("/proc/self/ns/pid", space, sizeof(space) - 1);
  return fmt::format("{} {} {}", base::host_name(), first_line("/proc/sys/kernel/random/boot_id"),
                     space);
}

std::string kernel_key() {
  const std::string boot = first_line("/proc/sys/kernel/random/boot_id");
  return boot.empty() ? base::host_name() : boot;
}

}  // namespace eyrie::parallel
