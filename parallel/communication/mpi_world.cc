// The job's communicator over MPI: how the launcher is recognised, how MPI starts and ends.
#include <mpi.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <exception>
#include <memory>
#include <string_view>
#include <thread>

#include <fmt/format.h>

#include "base/error.h"
#include "base/log.h"
#include "parallel/communication/communicator.h"
#include "parallel/communication/launch.h"
#include "parallel/communication/mpi_communicator.h"
#include "parallel/communication/run_guarded.h"

namespace eyrie::parallel {
namespace {

using Clock = std::chrono::steady_clock;

// The job's communicator. Its destructor finalises MPI.
class MpiWorld : public MpiCommunicator {
 public:
  MpiWorld()
      : MpiCommunicator(std::make_shared<Job>(), MPI_COMM_WORLD, "world", "world"),
        farewell_(std::make_unique<MpiCommunicator>(shared_job(), MPI_COMM_WORLD, "farewell",
                                                    "farewell")) {
    // The environment variable may be set on some hosts only.
#ifdef NDEBUG
    bool wanted = false;
#else
    bool wanted = true;
#endif
    if (const char* set = std::getenv("EYRIE_CHECK_ORDER")) wanted = std::string_view(set) == "1";
    job().checks_order = any(wanted);
  }
  ~MpiWorld() override {
    // MPI_Finalize waits for every rank. When an error unwinds the stack, the other ranks may never
    // arrive: this rank waits two seconds for them (they arrive if all fail alike), then ends the
    // job.
    if (std::uncaught_exceptions() > 0 && !all_leave_within(std::chrono::seconds(2))) {
      abort("ended by an error that no other rank saw", base::kExitFailure);
    }
    farewell_.reset();
    finalize_within(std::chrono::seconds(30));
  }

 private:
  // MPICH over UCX and TCP often never comes back from MPI_Finalize: a rank closes its connections,
  // and another one, which has closed its own already, no longer looks. There is nothing to lose
  // any more: the process then ends with the status that it has.
  static void finalize_within(std::chrono::seconds limit) {
    const auto done = std::make_shared<std::atomic<bool>>(false);
    try {
      std::thread([limit, done, status = last_guarded_status()] {
        std::this_thread::sleep_for(limit);
        if (done->load()) return;
        base::flush_logs();
        ::_exit(status);
      }).detach();
    } catch (const std::exception&) {  // no more threads: without a limit
    }
    MPI_Finalize();
    *done = true;
  }

  bool all_leave_within(std::chrono::seconds limit) {
    const Clock::time_point start = Clock::now();
    std::atomic<bool> all = false;
    // The barrier itself cannot time out: the thread is abandoned when abort() ends the process.
    std::thread waits([&] {
      try {
        farewell_->barrier();
        all = true;
      } catch (...) {
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

// The number of ranks that the launcher started, or 0 without a launcher.
int launched_ranks() {
  const int ranks = launch_of_environment().ranks;
  const auto is_set = [](const char* name) { return std::getenv(name) != nullptr; };
  if (ranks > 1 && !is_set("OMPI_COMM_WORLD_SIZE") && !is_set("PMI_SIZE") && !is_set("PMIX_RANK") &&
      !is_set("PMI_RANK")) {
    throw base::InputError(
        fmt::format("srun started {} tasks without telling them of each other: each would be a job "
                    "of its own. Start with "
                    "srun --mpi=pmix (srun --mpi=list shows what this cluster has)",
                    ranks));
  }
  return ranks;
}

}  // namespace

bool is_mpi_running() {
  int started = 0, finalised = 0;
  MPI_Initialized(&started);
  MPI_Finalized(&finalised);
  return started && !finalised;
}

void end_all_ranks(int status) {
  if (is_mpi_running()) MPI_Abort(MPI_COMM_WORLD, status);
  ::_exit(status);
}

std::unique_ptr<Communicator> open_world(int& argc, char**& argv) {
  const int launched = launched_ranks();
  if (launched == 0) return open_single();
  int provided = MPI_THREAD_SINGLE;
  check_mpi(MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &provided), "MPI_Init_thread");
  if (provided < MPI_THREAD_MULTIPLE) {
    throw base::Error(fmt::format(
        "this MPI library lets {} call it, and the exchange of gradients needs "
        "MPI_THREAD_MULTIPLE: use Open MPI or MPICH as packaged, or build it with "
        "threads ({})",
        provided == MPI_THREAD_SERIALIZED ? "only one thread at a time (MPI_THREAD_SERIALIZED)"
                                          : "only one thread of each rank",
        library_version()));
  }
  int size = 0;
  check_mpi(MPI_Comm_size(MPI_COMM_WORLD, &size), "MPI_Comm_size");
  if (size == 1 && launched > 1) {
    throw base::InputError(
        fmt::format("the launcher started {} ranks but MPI sees one: the launcher belongs to "
                    "another MPI library. Use "
                    "the launcher of {}, or srun --mpi=pmix",
                    launched, library_version()));
  }
  auto world = std::make_unique<MpiWorld>();
  if (size > 1) base::set_rank(world->rank());
  return world;
}

std::string library_version() {
  char text[MPI_MAX_LIBRARY_VERSION_STRING];
  int length = 0;
  MPI_Get_library_version(text, &length);  // may be called before MPI is started
  const std::string all(text, static_cast<std::size_t>(length));
  return all.substr(0, all.find_first_of(",\n"));
}

}  // namespace eyrie::parallel
