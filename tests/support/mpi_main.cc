// main() of GoogleTest programs that run under MPI. Every rank runs every test; rank 0 reports;
// failures of the other ranks are printed with their rank, and a test that failed on any rank has
// failed. A test that hangs ends the program with its name: EYRIE_TEST_TIMEOUT seconds, 60 unless
// set.
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <string>

#include <fmt/format.h>

#include "base/error.h"
#include "support/watchdog.h"
#include "support/world.h"

namespace eyrie::test_support {
namespace {

parallel::Communicator* the_world = nullptr;

std::chrono::seconds time_limit() {
  const char* set = std::getenv("EYRIE_TEST_TIMEOUT");
  return std::chrono::seconds(set != nullptr ? std::atoi(set) : 60);
}

// On the ranks that do not report: one line for each failure, in one write so that lines of ranks
// do not mix.
class FailurePrinter : public testing::EmptyTestEventListener {
  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (!result.failed()) return;
    const testing::TestInfo* test = testing::UnitTest::GetInstance()->current_test_info();
    const std::string where = test == nullptr
                                  ? "outside of a test"
                                  : fmt::format("{}.{}", test->test_suite_name(), test->name());
    const std::string text = fmt::format("rank {}: {}: {}:{}: {}\n", the_world->rank(), where,
                                         result.file_name() == nullptr ? "?" : result.file_name(),
                                         result.line_number(), result.summary());
    (void)!::write(STDERR_FILENO, text.data(), text.size());
  }
};

// Watches each test, and makes the ranks agree on its result over a communicator that no test uses.
class RankAgreement : public testing::EmptyTestEventListener {
 public:
  explicit RankAgreement(std::unique_ptr<parallel::Communicator> communicator)
      : communicator_(std::move(communicator)) {}

 private:
  void OnTestStart(const testing::TestInfo& test) override {
    watchdog_ = std::make_unique<Watchdog>(
        fmt::format("{}.{}", test.test_suite_name(), test.name()), time_limit());
  }
  // Called before the printer's own, so that the line of rank 0 already knows what the others saw.
  void OnTestEnd(const testing::TestInfo& test) override {
    std::array<std::int64_t, 1> failed = {test.result()->Failed() ? 1 : 0};
    const bool here = failed[0] != 0;
    communicator_->all_reduce(failed, parallel::Reduce::kSum);
    watchdog_.reset();
    if (failed[0] != 0 && !here && communicator_->rank() == 0) {
      ADD_FAILURE() << failed[0] << " of " << communicator_->size() << " ranks failed";
    }
  }

  std::unique_ptr<parallel::Communicator> communicator_;
  std::unique_ptr<Watchdog> watchdog_;
};

int run(int argc, char** argv) {
  const std::unique_ptr<parallel::Communicator> world = parallel::open_world(argc, argv);
  the_world = world.get();
  testing::InitGoogleTest(&argc, argv);
  testing::TestEventListeners& listeners = testing::UnitTest::GetInstance()->listeners();
  if (world->rank() != 0) {
    GTEST_FLAG_SET(output, "");  // one rank writes the report file
    delete listeners.Release(listeners.default_result_printer());
    listeners.Append(new FailurePrinter);
  }
  auto* agreement = new RankAgreement(world->duplicate());
  listeners.Append(agreement);
  int status = 0;
  try {
    std::array<std::int64_t, 1> failed = {RUN_ALL_TESTS()};
    world->all_reduce(failed, parallel::Reduce::kMax);
    status = static_cast<int>(failed[0]);
    world->barrier();
  } catch (const std::exception& error) {
    world->abort(error.what(), 1);
  }
  delete listeners.Release(agreement);  // its communicator must go before MPI is finalised
  return status;
}

}  // namespace

parallel::Communicator& test_world() { return *the_world; }

}  // namespace eyrie::test_support

int main(int argc, char** argv) { return eyrie::test_support::run(argc, argv); }
