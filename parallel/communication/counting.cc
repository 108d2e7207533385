// Messages that are counted.
#include "parallel/communication/counting.h"

#include <numeric>

#include <fmt/format.h>

#include "base/error.h"

namespace eyrie::parallel {
namespace {

std::vector<int> all_ranks(int size) {
  std::vector<int> ranks(static_cast<std::size_t>(size));
  std::iota(ranks.begin(), ranks.end(), 0);
  return ranks;
}

class Nothing : public Request {
 public:
  void wait() override {}
  bool done() override { return true; }
};

}  // namespace

CountingCommunicator::CountingCommunicator(std::string name, int rank, int size)
    : rank_(rank), size_(size), progress_(std::move(name), "", all_ranks(size)) {}

std::unique_ptr<Request> CountingCommunicator::send(std::span<const std::byte> bytes, int, int) {
  count_sent(std::ssize(bytes));
  return std::make_unique<Nothing>();
}

std::unique_ptr<Request> CountingCommunicator::receive(std::span<std::byte>, int, int) {
  return std::make_unique<Nothing>();
}

std::vector<std::string> CountingCommunicator::all_gather(const std::string& bytes) {
  return std::vector<std::string>(static_cast<std::size_t>(size_), bytes);
}

std::vector<std::string> CountingCommunicator::gather(const std::string& bytes, int root) {
  return rank_ == root ? all_gather(bytes) : std::vector<std::string>();
}

void CountingCommunicator::abort(const std::string& message, int) {
  throw base::Error(fmt::format("'{}', which is only planned: {}", name(), message));
}

std::unique_ptr<Communicator> CountingCommunicator::duplicate() {
  return std::make_unique<CountingCommunicator>(name(), rank_, size_);
}

std::unique_ptr<Communicator> CountingCommunicator::split(int, int, const std::string& name) {
  throw base::Error(fmt::format("'{}' cannot be split off a job that is only planned", name));
}

}  // namespace eyrie::parallel
