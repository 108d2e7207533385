// The communicator of a test program that runs under MPI (its main is support/mpi_main.cc).
#pragma once

#include "parallel/communication/communicator.h"

namespace eyrie::test_support {

// All ranks of the job. Every rank runs every test; a test leaves no message behind.
parallel::Communicator& test_world();

}  // namespace eyrie::test_support
