// A rank of a job that does not run, for planning: its messages are counted and go nowhere, and
// other ranks answer with what this one said.
#pragma once

#include "parallel/communication/communicator.h"

namespace eyrie::parallel {

class CountingCommunicator : public Communicator {
 public:
  CountingCommunicator(std::string name, int rank, int size);

  std::int64_t operations() const { return progress_.state().number; }  // begun so far

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  int world_rank(int rank) const override { return rank; }
  const std::string& name() const override { return progress_.name(); }

  std::unique_ptr<Request> send(std::span<const std::byte> bytes, int to, int tag) override;
  std::unique_ptr<Request> receive(std::span<std::byte> bytes, int from, int tag) override;
  std::optional<Arrival> probe(int) override { return {}; }

  void barrier() override {}
  void broadcast(std::span<std::byte>, int) override {}
  void all_reduce(std::span<double>, Reduce) override {}
  void all_reduce(std::span<std::int64_t>, Reduce) override {}
  std::vector<std::string> all_gather(const std::string& bytes) override;
  std::vector<std::string> gather(const std::string& bytes, int root) override;

  [[noreturn]] void abort(const std::string& message, int status) override;
  void interrupt() override {}
  std::unique_ptr<Communicator> duplicate() override;
  // Not possible: the colors of the other ranks are not known. A mesh is planned with
  // Mesh::planned.
  std::unique_ptr<Communicator> split(int color, int key, const std::string& name) override;
  Progress* progress() override { return &progress_; }

 private:
  int rank_, size_;
  Progress progress_;
};

}  // namespace eyrie::parallel
