// Collectives and messages over MPI.
#include "parallel/communication/mpi_communicator.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <exception>
#include <limits>
#include <numeric>
#include <thread>
#include <type_traits>

#include <fmt/format.h>

#include "base/error.h"
#include "base/log.h"
#include "parallel/communication/run_guarded.h"

namespace eyrie::parallel {

namespace {

// Tags from here on are reserved for the communicator; MPI guarantees tags up to 32767.
constexpr int kFirstOwnTag = 32000;
constexpr int kGatherTag = kFirstOwnTag;

std::span<std::byte> bytes_of(std::string& text) {
  return std::as_writable_bytes(std::span<char>(text.data(), text.size()));
}

std::vector<std::string> sized_strings(const std::vector<std::int64_t>& lengths) {
  std::vector<std::string> all(lengths.size());
  for (std::size_t i = 0; i < all.size(); ++i) all[i].resize(static_cast<std::size_t>(lengths[i]));
  return all;
}

}  // namespace

MpiCommunicator::MpiCommunicator(std::shared_ptr<Job> job, MPI_Comm from, std::string name,
                                 std::string identity)
    : Communicator(std::move(job)), name_(std::move(name)) {
  check_mpi(MPI_Comm_dup(from, &communicator_), "MPI_Comm_dup");
  open(std::move(identity));
}

MpiCommunicator::MpiCommunicator(std::shared_ptr<Job> job, MPI_Comm from, int color, int key,
                                 std::string name, std::string identity)
    : Communicator(std::move(job)), name_(std::move(name)) {
  check_mpi(MPI_Comm_split(from, color, key, &communicator_), "MPI_Comm_split");
  open(std::move(identity));
}

void MpiCommunicator::open(std::string identity) {
  check_mpi(MPI_Comm_set_errhandler(communicator_, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  check_mpi(MPI_Comm_rank(communicator_, &rank_), "MPI_Comm_rank");
  check_mpi(MPI_Comm_size(communicator_, &size_), "MPI_Comm_size");
  MPI_Group here, world;
  check_mpi(MPI_Comm_group(communicator_, &here), "MPI_Comm_group");
  check_mpi(MPI_Comm_group(MPI_COMM_WORLD, &world), "MPI_Comm_group");
  std::vector<int> ranks(size_);
  std::iota(ranks.begin(), ranks.end(), 0);
  std::vector<int> world_ranks(size_);
  check_mpi(MPI_Group_translate_ranks(here, size_, ranks.data(), world, world_ranks.data()),
            "MPI_Group_translate_ranks");
  MPI_Group_free(&here);
  MPI_Group_free(&world);
  progress_ = std::make_shared<Progress>(name_, std::move(identity), std::move(world_ranks));
  if (size_ > 1) job().add(progress_);
}

MpiCommunicator::~MpiCommunicator() {
  int finalised = 0;
  MPI_Finalized(&finalised);
  // MPI_Comm_free is formally collective. A rank that unwinds alone must not wait for the others.
  if (!finalised && std::uncaught_exceptions() == 0) MPI_Comm_free(&communicator_);
}

std::unique_ptr<Request> MpiCommunicator::send(std::span<const std::byte> bytes, int to, int tag) {
  check_peer(to, tag);
  count_sent(std::ssize(bytes));
  return start_send(end(to, tag), bytes);
}

std::unique_ptr<Request> MpiCommunicator::receive(std::span<std::byte> bytes, int from, int tag) {
  check_peer(from, tag);
  return start_receive(end(from, tag), bytes);
}

std::optional<Arrival> MpiCommunicator::probe(int tag) {
  int there = 0, bytes = 0;
  MPI_Status status;
  check_mpi(MPI_Iprobe(MPI_ANY_SOURCE, tag, communicator_, &there, &status), "MPI_Iprobe");
  if (!there) return {};
  check_mpi(MPI_Get_count(&status, MPI_BYTE, &bytes), "MPI_Get_count");
  return Arrival{status.MPI_SOURCE, static_cast<std::size_t>(bytes)};
}

void MpiCommunicator::barrier() {
  const Operation operation(*this, "barrier");
  MPI_Request request;
  check_mpi(MPI_Ibarrier(communicator_, &request), "MPI_Ibarrier");
  wait_for(request, "MPI_Ibarrier", *interrupted_);
}

void MpiCommunicator::broadcast(std::span<std::byte> bytes, int root) {
  const Operation operation(*this, "broadcast", std::ssize(bytes), root);
  for (std::size_t at = 0; at < bytes.size(); at += kLargest) {
    const std::size_t count = std::min(kLargest, bytes.size() - at);
    MPI_Request request;
    check_mpi(MPI_Ibcast(bytes.data() + at, static_cast<int>(count), MPI_BYTE, root, communicator_,
                         &request),
              "MPI_Ibcast");
    wait_for(request, "MPI_Ibcast", *interrupted_);
  }
}

std::vector<std::string> MpiCommunicator::all_gather(const std::string& bytes) {
  const Operation operation(*this, "all_gather");
  std::vector<std::string> all = sized_strings(gathered_lengths(bytes.size()));
  all[rank_] = bytes;
  std::size_t total = 0;
  for (const std::string& part : all) total += part.size();
  if (total > kLargest) {
    for (int from = 0; from < size_; ++from) broadcast(bytes_of(all[from]), from);
    return all;
  }
  std::vector<int> counts, starts;
  for (const std::string& part : all) {
    starts.push_back(counts.empty() ? 0 : starts.back() + counts.back());
    counts.push_back(static_cast<int>(part.size()));
  }
  std::string joined(total, '\0');
  MPI_Request request;
  check_mpi(MPI_Iallgatherv(bytes.data(), static_cast<int>(bytes.size()), MPI_BYTE, joined.data(),
                            counts.data(), starts.data(), MPI_BYTE, communicator_, &request),
            "MPI_Iallgatherv");
  wait_for(request, "MPI_Iallgatherv", *interrupted_);
  for (int from = 0; from < size_; ++from) all[from].assign(joined, starts[from], counts[from]);
  return all;
}

std::vector<std::string> MpiCommunicator::gather(const std::string& bytes, int root) {
  const Operation operation(*this, "gather", -1, root);
  const std::vector<std::int64_t> lengths = gathered_lengths(bytes.size());
  if (rank_ != root) {
    start_send(end(root, kGatherTag), std::as_bytes(std::span(bytes)))->wait();
    return {};
  }
  std::vector<std::string> all = sized_strings(lengths);
  all[rank_] = bytes;
  std::vector<std::unique_ptr<Request>> pending;
  for (int from = 0; from < size_; ++from) {
    if (from == rank_) continue;
    pending.push_back(start_receive(end(from, kGatherTag), bytes_of(all[from])));
  }
  for (const auto& request : pending) request->wait();
  return all;
}

void MpiCommunicator::abort(const std::string& message, int status) {
  // One thread reports for the rank; any other that fails meanwhile sleeps until the process ends.
  static std::atomic<bool> aborting = false;
  if (aborting.exchange(true)) {
    for (;;) std::this_thread::sleep_for(std::chrono::seconds(1));
  }
  job().run_before_abort();
  base::flush_logs();
  int world_rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &world_rank);
  print_last_line(world_rank, message);
  // The launcher ends the others as soon as it hears of the abort, so give it time to forward the
  // line first.
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  end_all_ranks(status);
}

std::unique_ptr<Communicator> MpiCommunicator::duplicate() {
  const Operation operation(*this, "duplicate");
  return std::make_unique<MpiCommunicator>(shared_job(), communicator_, name_, child_identity(0));
}

std::unique_ptr<Communicator> MpiCommunicator::split(int color, int key, const std::string& name) {
  const Operation operation(*this, "split");
  return std::make_unique<MpiCommunicator>(shared_job(), communicator_, color, key, name,
                                           child_identity(color));
}

// One exchange of fixed size before anything else, so that it matches whatever the other ranks
// call.
void MpiCommunicator::check_call(const Call& call) {
  if (!job().checks_order) return;
  struct Record {
    char operation[40];
    std::int64_t number, bytes, root;
  };
  Record own = {{}, call.number, call.bytes, call.root};
  std::strncpy(own.operation, call.operation, sizeof(own.operation) - 1);
  std::vector<Record> all(size_);
  gather_equal(&own, sizeof(own), all.data());
  std::vector<RankCall> calls;
  for (int rank = 0; rank < size_; ++rank) {
    calls.push_back({world_rank(rank), all[rank].operation, all[rank].number, all[rank].bytes,
                     static_cast<int>(all[rank].root)});
  }
  const std::string text = difference(name_, calls);
  if (text.empty()) return;
  // One report is enough: rank 0 throws first and ends the job meanwhile.
  if (rank_ != 0) std::this_thread::sleep_for(std::chrono::seconds(1));
  throw base::Error(text);
}

std::string MpiCommunicator::child_identity(int color) {
  return fmt::format("{}/{}:{}", progress_->identity(), ++children_, color);
}

void MpiCommunicator::check_peer(int peer, int tag) const {
  EYRIE_CHECK(peer >= 0 && peer < size_, fmt::format("rank {} of {}", peer, size_));
  EYRIE_CHECK(tag >= 0 && tag < kFirstOwnTag, fmt::format("tag {}", tag));
}

void MpiCommunicator::gather_equal(const void* own, std::size_t bytes, void* all) {
  MPI_Request request;
  const int count = static_cast<int>(bytes);
  check_mpi(MPI_Iallgather(own, count, MPI_BYTE, all, count, MPI_BYTE, communicator_, &request),
            "MPI_Iallgather");
  wait_for(request, "MPI_Iallgather", *interrupted_);
}

std::vector<std::int64_t> MpiCommunicator::gathered_lengths(std::size_t own) {
  const std::int64_t length = static_cast<std::int64_t>(own);
  std::vector<std::int64_t> lengths(size_);
  gather_equal(&length, sizeof(length), lengths.data());
  return lengths;
}

// Adds in rank order on every rank, which MPI_Allreduce does not guarantee.
template <class Number>
void MpiCommunicator::reduce(std::span<Number> values, Reduce how) {
  const std::size_t count = values.size();
  EYRIE_CHECK(values.size_bytes() < kLargest, "all_reduce is for control values");
  const Operation operation(*this, all_reduce_name(how, std::is_integral_v<Number>),
                            static_cast<std::int64_t>(values.size_bytes()));
  const std::vector<Number> own(values.begin(), values.end());
  std::vector<Number> all(count * size_);
  gather_equal(own.data(), values.size_bytes(), all.data());
  const std::span<const Number> parts(all);
  std::copy_n(all.begin(), count, values.begin());
  for (int from = 1; from < size_; ++from) fold(how, parts.subspan(from * count, count), values);
}

void MpiCommunicator::all_reduce(std::span<double> values, Reduce how) { reduce(values, how); }
void MpiCommunicator::all_reduce(std::span<std::int64_t> values, Reduce how) {
  reduce(values, how);
}

}  // namespace eyrie::parallel
