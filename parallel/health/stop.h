// Requests to stop: a signal sets a flag, and the ranks agree on it in every step. A signal
// to one rank is enough, since launchers do not all forward the same signals to the same ranks.
//
// No signal handler may run on a computing thread: oneDNN's kernels use the stack pointer as an
// index into their workspace, so a handler's frame would be written into the heap. The signals are
// therefore blocked before any thread is created, and one dedicated thread takes them.
#pragma once

#include "parallel/communication/communicator.h"

namespace eyrie::parallel {

// Blocks SIGTERM, SIGINT, SIGUSR1, SIGUSR2, SIGXCPU, and SIGHUP unless it is ignored (nohup), in
// the calling thread and in all threads that it creates afterwards. Call it first in main().
void block_stop_signals();
// Blocks the signals and starts the thread that takes them. Until catch_stop_signals() each signal
// ends the process as it would by default. Call it second in main(); may be called again.
void start_signal_thread();

// From now on the signals ask this process to stop instead of ending it. A second SIGINT (from an
// impatient user at a terminal) ends it. Calls start_signal_thread() itself; may be called again.
void catch_stop_signals();
// Undoes catch_stop_signals() where there is nothing to save: signals end the process again, also
// one that has already arrived.
void restore_stop_signals();

// Requests a stop as a signal does (--stop-after, tests). Any thread, or a signal handler.
void request_stop(int signal);

// The signal that last asked this process to stop, or 0.
int stop_signal();
inline bool stop_requested() { return stop_signal() != 0; }

// A descriptor that is readable while a stop is requested, for use in poll().
int stop_event();

// Clears the request.
void clear_stop();

// Ends the process by the default action of `signal`, even if it is blocked or caught.
void end_by_signal(int signal);

// While the eventfd `descriptor` is not -1, the number of a signal that is not caught is written to
// it instead of ending the process: the monitor of other ranks has a line to print first.
void set_terminate_event(int descriptor);

// Collective, one small message. Whether any rank was asked to stop; the same answer on every rank.
bool stop_requested_anywhere(Communicator& communicator);

}  // namespace eyrie::parallel
