// Notices within about a second that another rank's process is gone (killed, out of memory,
// crashed) and ends this one with a line that names it: before the launcher kills this process, and
// instead of a wait that never ends. The ranks of one host watch each other's processes;
// report_gone() is the entry point for a watch over hosts. With a time limit it also ends a job
// whose ranks stopped answering or wait for each other forever, on any host (hang_watch.h).
#pragma once

#include <memory>
#include <string>

#include "parallel/communication/communicator.h"

namespace eyrie::parallel {

class PeerMonitor {
 public:
  // Collective. `world` must outlive the monitor. `hang_limit` (seconds, 0: none, the same on all
  // ranks): how long a rank may be in one operation, or not answer, before the job ends with "rank
  // R: WHICH OPERATION, WHO ARRIVED, WHO DID NOT; in DOING. ADVICE". Ranks that are threads of one
  // process are not watched. While the monitor lives, a signal that nothing else handles ends this
  // process only after half a second: launchers send it to the survivors the moment a rank dies,
  // and the line must be printed first.
  explicit PeerMonitor(Communicator& world, double hang_limit = 0);
  // If finish() was not called, an error is unwinding this rank's stack. Its message must be the
  // last one, so the other ranks are told not to print. But if the error only follows from another
  // rank's death, that death is reported instead and the process ends.
  ~PeerMonitor();
  PeerMonitor(const PeerMonitor&) = delete;
  PeerMonitor& operator=(const PeerMonitor&) = delete;

  // Parts of the line: what the job is doing ("step 12 of stage pretrain") and what the user should
  // do. Any thread.
  void set_doing(const std::string& doing);
  void set_advice(const std::string& advice);

  // Collective. The job is done and ranks may exit.
  void finish();

  // Prints "rank R: rank K (pid P on HOST) is gone: WHY; in DOING. ADVICE" and ends the job. If
  // another rank of the host has printed already, ends this process without a line. Any thread.
  [[noreturn]] void report_gone(int rank, const std::string& why);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace eyrie::parallel
