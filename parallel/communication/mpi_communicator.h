// The communicator over MPI; mpi_world.cc derives the job's own from it. Several threads may use
// several communicators at the same time (MPI_THREAD_MULTIPLE). Every failing MPI call throws
// base::Error.
#pragma once

#include <mpi.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "parallel/communication/communicator.h"
#include "parallel/communication/mpi_request.h"

namespace eyrie::parallel {

class MpiCommunicator : public Communicator {
 public:
  // Collective over `from`. `identity`: see Progress.
  MpiCommunicator(std::shared_ptr<Job> job, MPI_Comm from, std::string name, std::string identity);
  MpiCommunicator(std::shared_ptr<Job> job, MPI_Comm from, int color, int key, std::string name,
                  std::string identity);
  ~MpiCommunicator() override;

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  int world_rank(int rank) const override { return progress_->members()[rank]; }
  const std::string& name() const override { return name_; }

  std::unique_ptr<Request> send(std::span<const std::byte> bytes, int to, int tag) override;
  std::unique_ptr<Request> receive(std::span<std::byte> bytes, int from, int tag) override;
  std::optional<Arrival> probe(int tag) override;

  void barrier() override;
  void broadcast(std::span<std::byte> bytes, int root) override;
  void all_reduce(std::span<double> values, Reduce how) override;
  void all_reduce(std::span<std::int64_t> values, Reduce how) override;
  std::vector<std::string> all_gather(const std::string& bytes) override;
  std::vector<std::string> gather(const std::string& bytes, int root) override;

  [[noreturn]] void abort(const std::string& message, int status) override;
  void interrupt() override { *interrupted_ = true; }

  std::unique_ptr<Communicator> duplicate() override;
  std::unique_ptr<Communicator> split(int color, int key, const std::string& name) override;

  Progress* progress() override { return progress_.get(); }
  void check_call(const Call& call) override;

 private:
  void open(std::string identity);
  std::string child_identity(int color);
  MessageEnd end(int peer, int tag) const {
    return {communicator_, peer, tag, progress_, interrupted_};
  }
  void check_peer(int peer, int tag) const;
  // Gathers `bytes` bytes from every rank, in rank order, into `all` (`bytes` · size()).
  void gather_equal(const void* own, std::size_t bytes, void* all);
  std::vector<std::int64_t> gathered_lengths(std::size_t own);
  template <class Number>
  void reduce(std::span<Number> values, Reduce how);

  MPI_Comm communicator_ = MPI_COMM_NULL;
  std::string name_;
  std::shared_ptr<Progress> progress_;
  int children_ = 0;  // number of duplicates and splits so far
  Flag interrupted_ = std::make_shared<std::atomic<bool>>(false);
  int rank_ = 0;
  int size_ = 1;
};

}  // namespace eyrie::parallel
