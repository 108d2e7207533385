// What a process prints when it crashes, and the signal stack that this needs on every computing
// thread, because oneDNN's kernels run with the stack pointer in their workspace.
#pragma once

namespace eyrie::base {

// From now on SIGSEGV, SIGBUS, SIGFPE and SIGILL print a line with the rank and a stack trace to
// stderr before they end the process as usual. Handlers that others (sanitizers) have already
// installed are kept, and MPI libraries leave signals alone that have a handler when MPI starts.
// Also calls use_signal_stack() for the calling thread.
void report_crashes();

// From now on signal handlers installed with SA_ONSTACK run on a stack of their own in this thread.
// Repeated calls cost almost nothing.
void use_signal_stack();

}  // namespace eyrie::base
