// A page of memory shared by the ranks of a host: which ranks left normally or with a message of
// their own, and whether the end of the job was already reported. It outlives each of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "parallel/communication/communicator.h"

namespace eyrie::parallel {

// How a process that is gone or about to end left: done, with a message of its own, or by a SIGTERM
// that it did not handle.
enum Leaving : std::uint8_t { kRunning, kFinished, kFailing, kTerminated };

// Without shared memory, or with no other process, all ranks appear to be running and each is the
// first to report. Any thread after open().
class HostStatus {
 public:
  HostStatus() = default;
  ~HostStatus();
  HostStatus(const HostStatus&) = delete;
  HostStatus& operator=(const HostStatus&) = delete;

  // Collective. `lowest_peer`: the lowest rank of another process of this host, or -1.
  void open(Communicator& world, int lowest_peer);

  Leaving leaving(int rank) const;
  void note_leaving(Leaving how);  // how this rank leaves
  bool first_to_report();          // returns true once per host

 private:
  struct Page;

  Page* page_ = nullptr;
  std::size_t bytes_ = 0;
  int rank_ = 0;
};

// Equal if process ids mean the same: host name, boot and PID namespace (containers on one host
// differ).
std::string host_key();
// Equal if CPU numbers mean the same: one kernel, whichever containers run on it.
std::string kernel_key();

}  // namespace eyrie::parallel
