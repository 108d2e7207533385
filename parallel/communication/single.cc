// A single rank: collectives are copies, and a message can only go to the rank itself.
#include <deque>
#include <map>

#include <fmt/format.h>

#include "base/error.h"
#include "base/log.h"
#include "parallel/communication/communicator.h"
#include "parallel/communication/run_guarded.h"

namespace eyrie::parallel {
namespace {

// Messages in flight from the rank to itself. The n-th receive of a tag takes the n-th message of
// that tag, in whatever order the receives are waited for.
struct SelfMessages {
  std::int64_t sent = 0;
  std::int64_t expected = 0;
  std::map<std::int64_t, std::vector<std::byte>> waiting;
};

class Done : public Request {
 public:
  void wait() override {}
  bool done() override { return true; }
};

class SelfReceive : public Request {
 public:
  SelfReceive(SelfMessages& messages, std::span<std::byte> bytes, int tag)
      : messages_(messages), number_(messages.expected++), bytes_(bytes), tag_(tag) {}

  void wait() override {
    if (done_) return;
    const auto found = messages_.waiting.find(number_);
    if (found == messages_.waiting.end()) {
      throw base::Error(fmt::format(
          "waiting for message {} with tag {} from this rank itself, which was not sent", number_,
          tag_));
    }
    if (found->second.size() != bytes_.size()) {
      throw base::Error(fmt::format("a message with tag {} has {} bytes, {} were expected", tag_,
                                    found->second.size(), bytes_.size()));
    }
    std::copy(found->second.begin(), found->second.end(), bytes_.begin());
    messages_.waiting.erase(found);
    done_ = true;
  }
  bool done() override {
    if (!done_ && messages_.waiting.count(number_) != 0) wait();
    return done_;
  }

 private:
  SelfMessages& messages_;
  std::int64_t number_;
  std::span<std::byte> bytes_;
  int tag_;
  bool done_ = false;
};

class SingleCommunicator : public Communicator {
 public:
  explicit SingleCommunicator(std::string name) : name_(std::move(name)) {}
  int rank() const override { return 0; }
  int size() const override { return 1; }
  int world_rank(int rank) const override { return rank; }
  const std::string& name() const override { return name_; }

  std::unique_ptr<Request> send(std::span<const std::byte> bytes, int to, int tag) override {
    EYRIE_CHECK(to == 0, fmt::format("a message to rank {} where there is one rank", to));
    SelfMessages& messages = messages_[tag];
    count_sent(std::ssize(bytes));
    messages.waiting[messages.sent++].assign(bytes.begin(), bytes.end());
    return std::make_unique<Done>();
  }
  std::unique_ptr<Request> receive(std::span<std::byte> bytes, int from, int tag) override {
    EYRIE_CHECK(from == 0, fmt::format("a message from rank {} where there is one rank", from));
    return std::make_unique<SelfReceive>(messages_[tag], bytes, tag);
  }
  std::optional<Arrival> probe(int tag) override {
    const SelfMessages& messages = messages_[tag];
    const auto next = messages.waiting.find(messages.expected);
    if (next == messages.waiting.end()) return {};
    return Arrival{0, next->second.size()};
  }

  void barrier() override {}
  void broadcast(std::span<std::byte>, int) override {}
  void all_reduce(std::span<double>, Reduce) override {}
  void all_reduce(std::span<std::int64_t>, Reduce) override {}
  std::vector<std::string> all_gather(const std::string& bytes) override { return {bytes}; }
  std::vector<std::string> gather(const std::string& bytes, int) override { return {bytes}; }

  void abort(const std::string& message, int status) override {
    base::flush_logs();
    print_last_line(0, message);
    ::_Exit(status);
  }
  void interrupt() override {}  // nothing waits here
  std::unique_ptr<Communicator> duplicate() override {
    return std::make_unique<SingleCommunicator>(name_);
  }
  std::unique_ptr<Communicator> split(int, int, const std::string& name) override {
    return std::make_unique<SingleCommunicator>(name);
  }

 private:
  std::string name_;
  std::map<int, SelfMessages> messages_;  // by tag; nodes keep their address
};

}  // namespace

std::unique_ptr<Communicator> open_single() {
  return std::make_unique<SingleCommunicator>("world");
}

}  // namespace eyrie::parallel
