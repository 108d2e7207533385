// Messages over MPI, and waiting for them.
#include "parallel/communication/mpi_request.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <string_view>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "base/error.h"

namespace eyrie::parallel {
namespace {

// Yields at first, for short waits between ranks that share cores, then sleeps.
class Patience {
 public:
  void pause() {
    if (++pauses_ < 64) {
      std::this_thread::yield();
    } else {
      std::this_thread::sleep_for(std::chrono::microseconds(pauses_ < 1024 ? 20 : 200));
    }
  }

 private:
  int pauses_ = 0;
};

// One message: a request per piece of kLargest bytes (one piece even when empty).
class MpiRequest : public Request {
 public:
  struct Piece {
    MPI_Request request;
    std::size_t expected;
  };
  MpiRequest(const MessageEnd& end, std::vector<Piece> pieces, bool receives)
      : end_(end), pieces_(std::move(pieces)), receives_(receives) {}

  // If it was not waited for, because of an error, the buffer is about to be freed, so the message
  // is cancelled.
  ~MpiRequest() override {
    for (; next_ < pieces_.size(); ++next_) {
      MPI_Request& request = pieces_[next_].request;
      if (request == MPI_REQUEST_NULL) continue;
      if (receives_) MPI_Cancel(&request);
      int done = 0;
      for (int tries = 0; tries < 10 && !done; ++tries) {
        if (MPI_Test(&request, &done, MPI_STATUS_IGNORE) != MPI_SUCCESS) break;
      }
    }
  }

  bool done() override {
    for (; next_ < pieces_.size(); ++next_) {
      MPI_Status status;
      int there = 0;
      check_mpi(MPI_Test(&pieces_[next_].request, &there, &status), what());
      if (!there) return false;
      if (receives_) check_length(status);
    }
    return true;
  }

  void wait() override {
    if (done()) return;
    const MessageWait waits(*end_.progress, receives_ ? "a message from" : "a message to",
                            end_.progress->members()[end_.peer]);
    Patience patience;
    while (!done()) {
      if (*end_.interrupted) throw base::Error(fmt::format("{}: interrupted", what()));
      patience.pause();
    }
  }

 private:
  const char* what() const { return receives_ ? "MPI receive" : "MPI send"; }
  void check_length(const MPI_Status& status) const {
    int count = 0;
    check_mpi(MPI_Get_count(&status, MPI_BYTE, &count), "MPI_Get_count");
    if (static_cast<std::size_t>(count) == pieces_[next_].expected) return;
    throw base::Error(
        fmt::format("a message from rank {} with tag {} has {} bytes, {} were expected", end_.peer,
                    end_.tag, count, pieces_[next_].expected));
  }

  MessageEnd end_;
  std::vector<Piece> pieces_;
  std::size_t next_ = 0;  // the first piece that is not complete
  bool receives_;
};

// `start(at, count, request)` starts the piece of `count` bytes at offset `at`.
template <class Start>
std::unique_ptr<Request> started(const MessageEnd& end, std::size_t bytes, bool receives,
                                 Start start) {
  std::vector<MpiRequest::Piece> pieces;
  std::size_t at = 0;
  do {
    const std::size_t count = std::min(kLargest, bytes - at);
    pieces.push_back({MPI_REQUEST_NULL, count});
    start(at, static_cast<int>(count), &pieces.back().request);
    at += count;
  } while (at < bytes);
  return std::make_unique<MpiRequest>(end, std::move(pieces), receives);
}

}  // namespace

void check_mpi(int code, const char* call) {
  if (code == MPI_SUCCESS) return;
  std::array<char, MPI_MAX_ERROR_STRING> text{};
  int length = 0;
  MPI_Error_string(code, text.data(), &length);
  throw base::Error(fmt::format("{}: {}", call, std::string_view(text.data(), length)));
}

void wait_for(MPI_Request& request, const char* call, const std::atomic<bool>& interrupted) {
  Patience patience;
  for (int done = 0;;) {
    check_mpi(MPI_Test(&request, &done, MPI_STATUS_IGNORE), call);
    if (done) return;
    if (interrupted) throw base::Error(fmt::format("{}: interrupted", call));
    patience.pause();
  }
}

std::unique_ptr<Request> start_send(const MessageEnd& end, std::span<const std::byte> bytes) {
  return started(end, bytes.size(), false, [&](std::size_t at, int count, MPI_Request* request) {
    check_mpi(
        MPI_Isend(bytes.data() + at, count, MPI_BYTE, end.peer, end.tag, end.communicator, request),
        "MPI_Isend");
  });
}

std::unique_ptr<Request> start_receive(const MessageEnd& end, std::span<std::byte> bytes) {
  return started(end, bytes.size(), true, [&](std::size_t at, int count, MPI_Request* request) {
    check_mpi(
        MPI_Irecv(bytes.data() + at, count, MPI_BYTE, end.peer, end.tag, end.communicator, request),
        "MPI_Irecv");
  });
}

}  // namespace eyrie::parallel
