// Notices that another rank's process has gone (killed, out of memory, crashed) and ends this one
// with a line that names it, within a second or so: before the launcher's own kill, and instead of
// a wait that never ends. Ranks of one host watch each other's processes; report_gone() is the
// entry for a watch over hosts. With a time limit it also ends a job whose ranks stopped answering
// or wait for each other for ever, wherever they are (hang_watch.h).
#pragma once

#include <memory>
#include <string>

#include "parallel/communicator.h"

namespace eyrie::parallel {

class PeerWatch {
 public:
  // Collective. `world` must outlive the watch. `hang_limit` in seconds: how long a rank may be in
  // one operation, or not answer, before the job ends with "rank R: WHICH OPERATION, WHO ARRIVED,
  // WHO DID NOT; in DOING. ADVICE"; 0: for ever; the same on
  // all ranks. Ranks of one process are not watched. While it
  // lives, a signal that nobody else handles ends this process half a second late: launchers send
  // it to the survivors at the moment a rank dies, and the line must come first.
  explicit PeerWatch(Communicator& world, double hang_limit = 0);
  // Without finish(): an error is on its way out of this rank. Its message must be the last, so the
  // other ranks are told to keep quiet, unless it is the echo of another rank's death: then that is
  // reported, and the process ends.
  ~PeerWatch();
  PeerWatch(const PeerWatch&) = delete;
  PeerWatch& operator=(const PeerWatch&) = delete;

  // Parts of the line: what the job is doing ("step 12 of stage pretrain") and what its user should
  // do. Any thread.
  void set_doing(const std::string& doing);
  void set_advice(const std::string& advice);

  // Collective: the job is done, ranks may leave.
  void finish();

  // Prints "rank R: rank K (pid P on HOST) is gone: WHY; in DOING. ADVICE" and ends the job. Any
  // thread. When another rank of the host has printed already, ends this process without a line.
  [[noreturn]] void report_gone(int rank, const std::string& why);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace eyrie::parallel
