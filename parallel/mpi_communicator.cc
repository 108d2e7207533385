// Ranks over MPI; the only file that sees mpi.h. Several threads may use several communicators at
// the same time (MPI_THREAD_MULTIPLE). Waiting polls and sleeps a little, because ranks may
// outnumber cores and Open MPI's own waits spin; every failing call of MPI becomes a base::Error.
#include <mpi.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <limits>
#include <numeric>
#include <string_view>
#include <thread>

#include <fmt/format.h>

#include "base/error.h"
#include "base/log.h"
#include "parallel/communicator.h"
#include "parallel/guard.h"

namespace eyrie::parallel {
namespace {

using Clock = std::chrono::steady_clock;

// MPI counts are ints; what is longer goes in pieces of this many bytes.
constexpr std::size_t kLargest = std::size_t{1} << 30;
// Tags from here on are the communicator's own; MPI promises 32767.
constexpr int kFirstOwnTag = 32000;
constexpr int kGatherTag = kFirstOwnTag;

// Whether ranks compare what they call. Set when the world opens, on all ranks alike.
bool order_is_checked = false;

void check(int code, const char* call) {
  if (code == MPI_SUCCESS) return;
  std::array<char, MPI_MAX_ERROR_STRING> text{};
  int length = 0;
  MPI_Error_string(code, text.data(), &length);
  throw base::Error(fmt::format("{}: {}", call, std::string_view(text.data(), length)));
}

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

using Flag = std::shared_ptr<std::atomic<bool>>;

void wait_for(MPI_Request& request, const char* call, const std::atomic<bool>& interrupted) {
  Patience patience;
  for (int done = 0;;) {
    check(MPI_Test(&request, &done, MPI_STATUS_IGNORE), call);
    if (done) return;
    if (interrupted) throw base::Error(fmt::format("{}: interrupted", call));
    patience.pause();
  }
}

// One message: a request for each piece of kLargest bytes (one piece even when empty).
class MpiRequest : public Request {
 public:
  struct Piece {
    MPI_Request request;
    std::size_t expected;
  };
  MpiRequest(std::vector<Piece> pieces, std::shared_ptr<Progress> progress, Flag interrupted,
             bool receives, int peer, int tag)
      : pieces_(std::move(pieces)),
        progress_(std::move(progress)),
        interrupted_(std::move(interrupted)),
        receives_(receives),
        peer_(peer),
        tag_(tag) {}

  // Not waited for, because of an error: the buffer is about to go, so the message should no longer
  // arrive in it.
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
      check(MPI_Test(&pieces_[next_].request, &there, &status), what());
      if (!there) return false;
      if (receives_) check_length(status);
    }
    return true;
  }

  void wait() override {
    if (done()) return;
    const MessageWait waits(*progress_, receives_ ? "a message from" : "a message to",
                            progress_->members()[peer_]);
    Patience patience;
    while (!done()) {
      if (*interrupted_) throw base::Error(fmt::format("{}: interrupted", what()));
      patience.pause();
    }
  }

 private:
  const char* what() const { return receives_ ? "MPI receive" : "MPI send"; }
  void check_length(const MPI_Status& status) const {
    int count = 0;
    check(MPI_Get_count(&status, MPI_BYTE, &count), "MPI_Get_count");
    if (static_cast<std::size_t>(count) == pieces_[next_].expected) return;
    throw base::Error(
        fmt::format("a message from rank {} with tag {} has {} bytes, {} were expected", peer_,
                    tag_, count, pieces_[next_].expected));
  }

  std::vector<Piece> pieces_;
  std::size_t next_ = 0;  // the first piece that is not done
  std::shared_ptr<Progress> progress_;
  Flag interrupted_;
  bool receives_;
  int peer_;
  int tag_;
};

class MpiCommunicator : public Communicator {
 public:
  // `identity`: see Progress.
  MpiCommunicator(MPI_Comm from, std::string name, std::string identity) : name_(std::move(name)) {
    check(MPI_Comm_dup(from, &communicator_), "MPI_Comm_dup");
    open(std::move(identity));
  }
  MpiCommunicator(MPI_Comm from, int color, int key, std::string name, std::string identity)
      : name_(std::move(name)) {
    check(MPI_Comm_split(from, color, key, &communicator_), "MPI_Comm_split");
    open(std::move(identity));
  }
  void open(std::string identity) {
    check(MPI_Comm_set_errhandler(communicator_, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
    check(MPI_Comm_rank(communicator_, &rank_), "MPI_Comm_rank");
    check(MPI_Comm_size(communicator_, &size_), "MPI_Comm_size");
    MPI_Group here, world;
    check(MPI_Comm_group(communicator_, &here), "MPI_Comm_group");
    check(MPI_Comm_group(MPI_COMM_WORLD, &world), "MPI_Comm_group");
    std::vector<int> ranks(size_);
    std::iota(ranks.begin(), ranks.end(), 0);
    std::vector<int> world_ranks(size_);
    check(MPI_Group_translate_ranks(here, size_, ranks.data(), world, world_ranks.data()),
          "MPI_Group_translate_ranks");
    MPI_Group_free(&here);
    MPI_Group_free(&world);
    progress_ = std::make_shared<Progress>(name_, std::move(identity), std::move(world_ranks));
    if (size_ > 1) put_on_board(progress_);
  }
  ~MpiCommunicator() override {
    int finalised = 0;
    MPI_Finalized(&finalised);
    // MPI_Comm_free is collective in name; in a rank that unwinds alone it must not wait for the
    // others.
    if (!finalised && std::uncaught_exceptions() == 0) MPI_Comm_free(&communicator_);
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  int world_rank(int rank) const override { return progress_->members()[rank]; }
  const std::string& name() const override { return name_; }

  std::unique_ptr<Request> send(std::span<const std::byte> bytes, int to, int tag) override {
    check_peer(to, tag);
    count_sent(bytes);
    return start_send(bytes, to, tag);
  }
  std::unique_ptr<Request> receive(std::span<std::byte> bytes, int from, int tag) override {
    check_peer(from, tag);
    return start_receive(bytes, from, tag);
  }
  std::optional<Arrival> probe(int tag) override {
    int there = 0, bytes = 0;
    MPI_Status status;
    check(MPI_Iprobe(MPI_ANY_SOURCE, tag, communicator_, &there, &status), "MPI_Iprobe");
    if (!there) return {};
    check(MPI_Get_count(&status, MPI_BYTE, &bytes), "MPI_Get_count");
    return Arrival{status.MPI_SOURCE, static_cast<std::size_t>(bytes)};
  }

  void barrier() override {
    const Operation operation(*this, "barrier");
    MPI_Request request;
    check(MPI_Ibarrier(communicator_, &request), "MPI_Ibarrier");
    wait_for(request, "MPI_Ibarrier", *interrupted_);
  }

  void broadcast(std::span<std::byte> bytes, int root) override {
    const Operation operation(*this, "broadcast", std::ssize(bytes), root);
    for (std::size_t at = 0; at < bytes.size(); at += kLargest) {
      const std::size_t count = std::min(kLargest, bytes.size() - at);
      MPI_Request request;
      check(MPI_Ibcast(bytes.data() + at, static_cast<int>(count), MPI_BYTE, root, communicator_,
                       &request),
            "MPI_Ibcast");
      wait_for(request, "MPI_Ibcast", *interrupted_);
    }
  }

  void all_reduce(std::span<double> values, Reduce how) override { reduce(values, how); }
  void all_reduce(std::span<std::int64_t> values, Reduce how) override { reduce(values, how); }

  std::vector<std::string> all_gather(const std::string& bytes) override {
    const Operation operation(*this, "all_gather");
    std::vector<std::string> all = sized_strings(gathered_lengths(bytes.size()));
    all[rank_] = bytes;
    std::size_t total = 0;
    for (const std::string& part : all) total += part.size();
    if (total > kLargest) {
      for (int from = 0; from < size_; ++from) {
        broadcast(std::as_writable_bytes(std::span<char>(all[from].data(), all[from].size())),
                  from);
      }
      return all;
    }
    std::vector<int> counts, starts;
    for (const std::string& part : all) {
      starts.push_back(counts.empty() ? 0 : starts.back() + counts.back());
      counts.push_back(static_cast<int>(part.size()));
    }
    std::string joined(total, '\0');
    MPI_Request request;
    check(MPI_Iallgatherv(bytes.data(), static_cast<int>(bytes.size()), MPI_BYTE, joined.data(),
                          counts.data(), starts.data(), MPI_BYTE, communicator_, &request),
          "MPI_Iallgatherv");
    wait_for(request, "MPI_Iallgatherv", *interrupted_);
    for (int from = 0; from < size_; ++from) all[from].assign(joined, starts[from], counts[from]);
    return all;
  }

  std::vector<std::string> gather(const std::string& bytes, int root) override {
    const Operation operation(*this, "gather", -1, root);
    const std::vector<std::int64_t> lengths = gathered_lengths(bytes.size());
    if (rank_ != root) {
      start_send(std::as_bytes(std::span(bytes)), root, kGatherTag)->wait();
      return {};
    }
    std::vector<std::string> all = sized_strings(lengths);
    all[rank_] = bytes;
    std::vector<std::unique_ptr<Request>> pending;
    for (int from = 0; from < size_; ++from) {
      if (from == rank_) continue;
      pending.push_back(
          start_receive(std::as_writable_bytes(std::span<char>(all[from].data(), all[from].size())),
                        from, kGatherTag));
    }
    for (const auto& request : pending) request->wait();
    return all;
  }

  void abort(const std::string& message, int status) override {
    // One thread speaks for the rank; any other that fails meanwhile sleeps until the end.
    static std::atomic<bool> aborting = false;
    if (aborting.exchange(true)) {
      for (;;) std::this_thread::sleep_for(std::chrono::seconds(1));
    }
    run_before_abort();
    base::flush_logs();
    print_last_line(own_world_rank(), message);
    // The launcher ends the others as soon as it hears of the abort: the line must have travelled
    // before.
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    end_all_ranks(status);
  }

  void interrupt() override { *interrupted_ = true; }

  std::unique_ptr<Communicator> duplicate() override {
    const Operation operation(*this, "duplicate");
    return std::make_unique<MpiCommunicator>(communicator_, name_, child_identity(0));
  }
  std::unique_ptr<Communicator> split(int color, int key, const std::string& name) override {
    const Operation operation(*this, "split");
    return std::make_unique<MpiCommunicator>(communicator_, color, key, name,
                                             child_identity(color));
  }

  Progress* progress() override { return progress_.get(); }
  // One exchange of fixed length before anything else: it fits whatever the other ranks call.
  void check_call(const Call& call) override {
    if (!order_is_checked) return;
    struct Record {
      char operation[40];
      std::int64_t number, bytes, root;
    };
    Record own = {{}, call.number, call.bytes, call.root};
    std::strncpy(own.operation, call.operation, sizeof(own.operation) - 1);
    std::vector<Record> all(size_);
    MPI_Request request;
    check(MPI_Iallgather(&own, sizeof(own), MPI_BYTE, all.data(), sizeof(own), MPI_BYTE,
                         communicator_, &request),
          "MPI_Iallgather");
    wait_for(request, "MPI_Iallgather", *interrupted_);
    std::vector<RankCall> calls;
    for (int rank = 0; rank < size_; ++rank) {
      calls.push_back({world_rank(rank), all[rank].operation, all[rank].number, all[rank].bytes,
                       static_cast<int>(all[rank].root)});
    }
    const std::string text = difference(name_, calls);
    if (text.empty()) return;
    // One rank is enough to say so: it ends the job meanwhile.
    if (rank_ != 0) std::this_thread::sleep_for(std::chrono::seconds(1));
    throw base::Error(text);
  }

 private:
  static int own_world_rank() {
    int rank = 0;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    return rank;
  }
  std::string child_identity(int color) {
    return fmt::format("{}/{}:{}", progress_->identity(), ++children_, color);
  }
  void check_peer(int peer, int tag) const {
    EYRIE_CHECK(peer >= 0 && peer < size_, fmt::format("rank {} of {}", peer, size_));
    EYRIE_CHECK(tag >= 0 && tag < kFirstOwnTag, fmt::format("tag {}", tag));
  }

  std::unique_ptr<Request> start_send(std::span<const std::byte> bytes, int to, int tag) {
    std::vector<MpiRequest::Piece> pieces;
    std::size_t at = 0;
    do {
      const std::size_t count = std::min(kLargest, bytes.size() - at);
      pieces.push_back({MPI_REQUEST_NULL, count});
      check(MPI_Isend(bytes.data() + at, static_cast<int>(count), MPI_BYTE, to, tag, communicator_,
                      &pieces.back().request),
            "MPI_Isend");
      at += count;
    } while (at < bytes.size());
    return std::make_unique<MpiRequest>(std::move(pieces), progress_, interrupted_, false, to, tag);
  }
  std::unique_ptr<Request> start_receive(std::span<std::byte> bytes, int from, int tag) {
    std::vector<MpiRequest::Piece> pieces;
    std::size_t at = 0;
    do {
      const std::size_t count = std::min(kLargest, bytes.size() - at);
      pieces.push_back({MPI_REQUEST_NULL, count});
      check(MPI_Irecv(bytes.data() + at, static_cast<int>(count), MPI_BYTE, from, tag,
                      communicator_, &pieces.back().request),
            "MPI_Irecv");
      at += count;
    } while (at < bytes.size());
    return std::make_unique<MpiRequest>(std::move(pieces), progress_, interrupted_, true, from,
                                        tag);
  }

  std::vector<std::int64_t> gathered_lengths(std::size_t own) {
    const std::int64_t length = static_cast<std::int64_t>(own);
    std::vector<std::int64_t> lengths(size_);
    MPI_Request request;
    check(MPI_Iallgather(&length, 1, MPI_INT64_T, lengths.data(), 1, MPI_INT64_T, communicator_,
                         &request),
          "MPI_Iallgather");
    wait_for(request, "MPI_Iallgather", *interrupted_);
    return lengths;
  }
  static std::vector<std::string> sized_strings(const std::vector<std::int64_t>& lengths) {
    std::vector<std::string> all(lengths.size());
    for (std::size_t i = 0; i < all.size(); ++i)
      all[i].resize(static_cast<std::size_t>(lengths[i]));
    return all;
  }

  // In rank order on every rank, which MPI_Allreduce does not promise.
  template <class Number>
  void reduce(std::span<Number> values, Reduce how) {
    const std::size_t count = values.size();
    EYRIE_CHECK(values.size_bytes() < kLargest, "all_reduce is for control values");
    const Operation operation(*this, all_reduce_name(how, std::is_integral_v<Number>),
                              static_cast<std::int64_t>(values.size_bytes()));
    const std::vector<Number> own(values.begin(), values.end());
    std::vector<Number> all(count * size_);
    MPI_Request request;
    const int bytes = static_cast<int>(values.size_bytes());
    check(MPI_Iallgather(own.data(), bytes, MPI_BYTE, all.data(), bytes, MPI_BYTE, communicator_,
                         &request),
          "MPI_Iallgather");
    wait_for(request, "MPI_Iallgather", *interrupted_);
    for (std::size_t i = 0; i < count; ++i) {
      Number result = all[i];
      for (int from = 1; from < size_; ++from) {
        const Number next = all[from * count + i];
        if (how == Reduce::kSum)
          result += next;
        else if (how == Reduce::kMax)
          result = std::max(result, next);
        else
          result = std::min(result, next);
      }
      values[i] = result;
    }
  }

  MPI_Comm communicator_ = MPI_COMM_NULL;
  std::string name_;
  std::shared_ptr<Progress> progress_;
  int children_ = 0;  // duplicated or split off so far
  Flag interrupted_ = std::make_shared<std::atomic<bool>>(false);
  int rank_ = 0;
  int size_ = 1;
};

// The job's communicator; MPI ends with it.
class MpiWorld : public MpiCommunicator {
 public:
  MpiWorld()
      : MpiCommunicator(MPI_COMM_WORLD, "world", "world"),
        farewell_(std::make_unique<MpiCommunicator>(MPI_COMM_WORLD, "farewell", "farewell")) {
    // The environment need not have reached every host.
#ifdef NDEBUG
    std::int64_t wanted = 0;
#else
    std::int64_t wanted = 1;
#endif
    if (const char* set = std::getenv("EYRIE_CHECK_ORDER")) wanted = std::string_view(set) == "1";
    all_reduce(std::span<std::int64_t>(&wanted, 1), Reduce::kMax);
    order_is_checked = wanted != 0;
  }
  ~MpiWorld() override {
    // MPI_Finalize waits for every rank. When an error is on its way out, the other ranks may not
    // be coming: this rank waits two seconds for them (they come when all fail alike), then ends
    // the job.
    if (std::uncaught_exceptions() > 0 && !all_leave_within(std::chrono::seconds(2))) {
      abort("ended by an error that no other rank saw", base::kExitFailure);
    }
    farewell_.reset();
    MPI_Finalize();
  }

 private:
  bool all_leave_within(std::chrono::seconds limit) {
    const Clock::time_point start = Clock::now();
    std::atomic<bool> all = false;
    // The barrier itself cannot time out; the thread is left behind when abort() ends the process.
    std::thread waits([&] {
      try {
        farewell_->barrier();
        all = true;
      } catch (const std::exception&) {
        return;
      }
    });
    while (!all && Clock::now() - start < limit)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    if (!all) {
      waits.detach();
      return false;
    }
    waits.join();
    return true;
  }

  std::unique_ptr<MpiCommunicator> farewell_;
};

// The number of ranks that the launcher started, or 0 when there was none.
int launched_ranks() {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"}) {
    if (const char* value = std::getenv(name)) return std::max(1, std::atoi(value));
  }
  // PMIx tells its ranks their number, not how many they are; Slurm does.
  const char* tasks = std::getenv("SLURM_STEP_NUM_TASKS");
  const int step_tasks = tasks != nullptr ? std::atoi(tasks) : 1;
  if (std::getenv("PMIX_RANK") != nullptr || std::getenv("PMI_RANK") != nullptr)
    return std::max(1, step_tasks);
  if (step_tasks > 1 && std::getenv("SLURM_PROCID") != nullptr) {
    throw base::InputError(
        fmt::format("srun started {} tasks without telling them of each other: each would be a job "
                    "of its own. Start with "
                    "srun --mpi=pmix (srun --mpi=list shows what this cluster has)",
                    step_tasks));
  }
  return 0;
}

}  // namespace

void end_all_ranks(int status) {
  int started = 0, finalised = 0;
  MPI_Initialized(&started);
  MPI_Finalized(&finalised);
  if (started && !finalised) MPI_Abort(MPI_COMM_WORLD, status);
  ::_exit(status);
}

std::unique_ptr<Communicator> open_world(int& argc, char**& argv) {
  const int launched = launched_ranks();
  if (launched == 0) return open_single();
  int provided = MPI_THREAD_SINGLE;
  check(MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &provided), "MPI_Init_thread");
  if (provided < MPI_THREAD_MULTIPLE) {
    throw base::Error(
        "this MPI library does not let several threads call it (MPI_THREAD_MULTIPLE), which the "
        "exchange of gradients "
        "needs; use Open MPI as packaged, or one built with threads");
  }
  int size = 0;
  check(MPI_Comm_size(MPI_COMM_WORLD, &size), "MPI_Comm_size");
  if (size == 1 && launched > 1) {
    throw base::InputError(
        fmt::format("the launcher started {} ranks but MPI sees one: the launcher belongs to "
                    "another MPI library. Use "
                    "the mpirun of Open MPI, or srun --mpi=pmix",
                    launched));
  }
  auto world = std::make_unique<MpiWorld>();
  if (size > 1) base::set_rank(world->rank());
  return world;
}

}  // namespace eyrie::parallel
