// Shared by the files over MPI: errors, waiting, messages. Only files named mpi_* include mpi.h.
#pragma once

#include <mpi.h>

#include <atomic>
#include <cstddef>
#include <memory>
#include <span>

#include "parallel/communication/communicator.h"
#include "parallel/communication/progress.h"

namespace eyrie::parallel {

// MPI counts are ints; longer messages are sent in pieces of this many bytes.
constexpr std::size_t kLargest = std::size_t{1} << 30;

// Throws base::Error with MPI's own text.
void check_mpi(int code, const char* call);

using Flag = std::shared_ptr<std::atomic<bool>>;

// Waits by polling with short sleeps, because ranks may outnumber cores and Open MPI's own waits
// spin. Throws base::Error once `interrupted` is set.
void wait_for(MPI_Request& request, const char* call, const std::atomic<bool>& interrupted);

// One end of a message between this rank and `peer`. A message has one request per piece of
// kLargest bytes (one piece even when empty).
struct MessageEnd {
  MPI_Comm communicator;
  int peer;
  int tag;
  std::shared_ptr<Progress> progress;
  Flag interrupted;
};
std::unique_ptr<Request> start_send(const MessageEnd& end, std::span<const std::byte> bytes);
std::unique_ptr<Request> start_receive(const MessageEnd& end, std::span<std::byte> bytes);

}  // namespace eyrie::parallel
