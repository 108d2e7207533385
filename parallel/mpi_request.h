// What files over MPI share: errors, waiting, messages. mpi.h stays in files named mpi_*.
#pragma once

#include <mpi.h>

#include <atomic>
#include <cstddef>
#include <memory>
#include <span>

#include "parallel/communicator.h"
#include "parallel/progress.h"

namespace eyrie::parallel {

// MPI counts are ints; what is longer goes in pieces of this many bytes.
constexpr std::size_t kLargest = std::size_t{1} << 30;

// Throws base::Error with MPI's own text.
void check_mpi(int code, const char* call);

using Flag = std::shared_ptr<std::atomic<bool>>;

// Polls and sleeps a little, because ranks may outnumber cores and Open MPI's own waits spin.
// Throws base::Error once `interrupted`.
void wait_for(MPI_Request& request, const char* call, const std::atomic<bool>& interrupted);

// One message of `bytes` between this rank and `peer`: a request for each piece of kLargest bytes
// (one piece even when empty).
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
