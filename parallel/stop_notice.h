// A request to stop, told among ranks that do unequal amounts of work and do not wait for each
// other: a rank that is asked to stop tells the others by a message, and each looks for one between
// its pieces of work.
#pragma once

#include <memory>
#include <vector>

#include "parallel/communicator.h"

namespace eyrie::parallel {

class StopNotice {
 public:
  // Collective over `readers`, the ranks that share out the work. `mates` (may be null): ranks that
  // do the same work together, each with readers of its own; they call requested() at the same
  // places and get the same answer.
  StopNotice(Communicator& readers, Communicator* mates);
  ~StopNotice();

  // As a signal does it, for this rank's work alone: it has failed, and the others need not go on.
  void ask() { asked_ = true; }

  // Whether any rank was asked to stop, as far as this one knows by now. Waits for its mates alone.
  // Once true, it stays so until finish().
  bool requested();

  // Collective over `readers`, at the end of a piece of work, when no rank calls requested() any
  // more: takes the messages that are still under way. Whether any rank stopped; the same answer on
  // every rank.
  bool finish();

 private:
  std::unique_ptr<Communicator> readers_;
  Communicator* mates_;
  bool asked_ = false, stopping_ = false;
  std::vector<std::unique_ptr<Request>> sent_;
};

}  // namespace eyrie::parallel
