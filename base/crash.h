// What a process says when it crashes, and the stack that it needs for that on every thread that
// computes: kernels of oneDNN run with the stack pointer in their workspace.
#pragma once

namespace eyrie::base {

// From now on SIGSEGV, SIGBUS, SIGFPE and SIGILL print a line with the rank and a stack trace to
// stderr before they end the process as usual. What others (sanitizers) handle already stays
// theirs; MPI libraries leave alone what is handled when they begin. Gives the calling thread its
// stack.
void report_crashes();

// Signal handlers that ask for it (SA_ONSTACK) run on a stack of their own in this thread from now
// on. May be called again; costs next to nothing then.
void use_signal_stack();

}  // namespace eyrie::base
