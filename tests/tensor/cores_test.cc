// Threads from the environment, and the shares of ranks that are bound to cores or not.
#include "tensor/cores.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "base/error.h"
#include "tensor/threads.h"

namespace eyrie::tensor {
namespace {

using Cores = std::vector<int>;

TEST(Cores, ARankUsesAllThatAreItsOwn) {
  const Cores a = {0, 1, 2, 3}, b = {4, 5, 6, 7};
  EXPECT_EQ(share_of_cores(a, {a}), 4);
  EXPECT_EQ(share_of_cores(a, {a, b}), 4);
  EXPECT_EQ(share_of_cores(b, {a, b}), 4);
  EXPECT_EQ(share_of_cores(a, {a, a}), 2);
  EXPECT_EQ(share_of_cores(a, {a, a, a}), 1);
  EXPECT_EQ(share_of_cores(a, {a, a, a, a, a, a}), 1);
  EXPECT_EQ(share_of_cores(a, {a, a, b, b}), 2);
  EXPECT_EQ(share_of_cores(a, {a, {2, 3}}), 3);  // two alone, two with another
  EXPECT_EQ(share_of_cores(Cores{2, 3}, {a, {2, 3}}), 1);
  EXPECT_EQ(static_cast<int>(core_list().size()), cores());
}

TEST(Cores, TheEnvironmentSaysThreads) {
  const auto wished = [](const char* eyrie, const char* openmp) {
    ::unsetenv("EYRIE_THREADS");
    ::unsetenv("OMP_NUM_THREADS");
    if (eyrie != nullptr) ::setenv("EYRIE_THREADS", eyrie, 1);
    if (openmp != nullptr) ::setenv("OMP_NUM_THREADS", openmp, 1);
    return threads_of_environment().value_or(0);
  };
  EXPECT_EQ(wished(nullptr, nullptr), 0);
  EXPECT_EQ(wished("3", nullptr), 3);
  EXPECT_EQ(wished("3", "5"), 3);
  EXPECT_EQ(wished(nullptr, "5,2"), 5);
  EXPECT_EQ(wished(nullptr, "many"), 0);
  EXPECT_EQ(wished("", "2"), 2);
  for (const char* wrong : {"0", "-1", "four", "2x", "100000"})
    EXPECT_THROW(wished(wrong, nullptr), base::InputError) << wrong;
  wished(nullptr, nullptr);
}

}  // namespace
}  // namespace eyrie::tensor
