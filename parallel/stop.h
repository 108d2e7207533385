// A request to stop: a signal sets a flag, and the ranks agree on it at a step's border. A signal
// to one rank is enough, since launchers do not all forward the same signals to the same ranks.
//
// No handler may run on a thread that computes: the kernels of oneDNN use the stack pointer as an
// index into their workspace, so that a handler's frame would be written into the heap. The signals
// are blocked before any thread is made, and one thread that does nothing else takes them.
#pragma once

#include "parallel/communicator.h"

namespace eyrie::parallel {

// Blocks the signals in the calling thread and in all that it starts from then on: SIGTERM, SIGINT,
// SIGUSR1, SIGUSR2, SIGXCPU, and SIGHUP unless it is ignored (nohup). First of all in main().
void block_stop_signals();
// Blocks them and starts the thread that takes them. Until catch_stop_signals() each ends the
// process as it would without all this. Second in main(); may be called again.
void take_stop_signals();

// From now on the signals ask this process to stop instead of ending it. A second SIGINT (an
// impatient user at a terminal) ends it. Takes them, where main() has not begun to; may be called
// again.
void catch_stop_signals();
// The opposite, where there is nothing to save: they end the process again, one that has come as
// well.
void leave_stop_signals();

// Asks for a stop as a signal does (--stop-after, tests). From any thread, or a signal handler.
void request_stop(int signal);

// The signal that this process was last asked to stop by, or 0.
int stop_signal();
inline bool stop_requested() { return stop_signal() != 0; }

// A descriptor that is readable while a stop is requested: for poll() beside what is waited for.
int stop_event();

// Forgets the request.
void clear_stop();

// Ends the process by the default action of `signal`, whatever is blocked or caught.
void end_by_signal(int signal);

// While it is not -1, the number of a signal that is not caught is written to this eventfd, and it
// ends nothing: for the watch over other ranks, which has a line to print before.
void set_terminate_event(int descriptor);

// Collective: whether any rank was asked to stop; the same answer on every rank. One small message.
bool stop_requested_anywhere(Communicator& communicator);

}  // namespace eyrie::parallel
