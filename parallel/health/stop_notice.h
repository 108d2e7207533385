// Requests to stop among ranks that do unequal amounts of work and do not wait for each other: a
// rank that is asked to stop sends the others a message, and each rank looks for such a message
// between its pieces of work.
#pragma once

#include <memory>
#include <vector>

#include "parallel/communication/communicator.h"

namespace eyrie::parallel {

class StopNotice {
 public:
  // Collective over `group`, the ranks that divide the work among them. `tensor` (may be null):
  // ranks that do the same work together, each in its own `group`; they call requested() at the
  // same places and get the same answer.
  StopNotice(Communicator& group, Communicator* tensor);
  ~StopNotice();

  // Asks for a stop as a signal does, but only of the present work: this rank has failed, and the
  // others need not continue.
  void ask() { asked_ = true; }

  // Whether any rank was asked to stop, as far as this rank knows by now. Waits only for its tensor
  // ranks. Once true, it stays true until finish().
  bool requested();

  // Collective over `group`. Call it at the end of a piece of work, when no rank calls requested()
  // any more: it receives the messages still in flight. Returns whether any rank stopped; the same
  // answer on every rank.
  bool finish();

 private:
  std::unique_ptr<Communicator> group_;
  Communicator* tensor_;
  bool asked_ = false, stopping_ = false;
  std::vector<std::unique_ptr<Request>> sent_;
};

}  // namespace eyrie::parallel
