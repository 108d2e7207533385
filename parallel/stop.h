// A request to stop: SIGTERM, SIGUSR1 and SIGINT set a flag, and the ranks agree on it at a step's
// border. A signal to one rank is enough, since launchers do not all forward the same signals to
// the same ranks.
#pragma once

#include "parallel/communicator.h"

namespace eyrie::parallel {

// From now on SIGTERM, SIGUSR1 and SIGINT ask this process to stop instead of ending it. A second
// SIGINT (an impatient user at a terminal) ends it. Call before the first step; may be called
// again. With `cut_calls` a read from the terminal that is under way ends with EINTR; else it goes
// on.
void catch_stop_signals(bool cut_calls = false);

// Asks for a stop as a signal does (--stop-after, tests). From any thread, or a signal handler.
void request_stop(int signal);

// The signal that this process was last asked to stop by, or 0.
int stop_signal();
inline bool stop_requested() { return stop_signal() != 0; }

// Forgets the request.
void clear_stop();

// Collective: whether any rank was asked to stop; the same answer on every rank. One small message.
bool stop_requested_anywhere(Communicator& communicator);

}  // namespace eyrie::parallel
