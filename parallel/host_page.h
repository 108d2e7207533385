// A page of memory that the ranks of a host share: who leaves in good order or with a message of
// its own, and whether an end of the job was told already. It outlives any one of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "parallel/communicator.h"

namespace eyrie::parallel {

// How a process that is gone, or going, left: done, with a message of its own, or by a SIGTERM that
// nobody caught.
enum Leaving : std::uint8_t { kRunning, kFinished, kFailing, kTerminated };

// Where there is no shared memory, or no other process, all ranks seem to run and each is the first
// to report. Any thread after open().
class HostPage {
 public:
  HostPage() = default;
  ~HostPage();
  HostPage(const HostPage&) = delete;
  HostPage& operator=(const HostPage&) = delete;

  // Collective. `lowest_peer`: the lowest rank of another process of this host, or -1.
  void open(Communicator& world, int lowest_peer);

  Leaving leaving(int rank) const;
  void note_leaving(Leaving how);  // of this rank
  bool first_to_report();          // true once a host

 private:
  struct Page;

  Page* page_ = nullptr;
  std::size_t bytes_ = 0;
  int rank_ = 0;
};

// Equal where process numbers mean the same: host name, boot, and name space (containers on one
// host differ).
std::string host_key();
// Equal where CPU numbers mean the same: one kernel, whatever containers run on it.
std::string kernel_key();

}  // namespace eyrie::parallel
