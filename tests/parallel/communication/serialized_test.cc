// An MPI whose calls may come from one thread at a time only is refused with the reason.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "parallel/health/job.h"

namespace eyrie::parallel {
namespace {

TEST(SerializedMpi, IsRefusedByName) {
  test_support::Job job(2, {SERIALIZED_PROGRAM});
  EXPECT_EQ(job.end(), 3) << job.text();
  EXPECT_THAT(job.text(), testing::HasSubstr("MPI_THREAD_SERIALIZED"));
  EXPECT_THAT(job.text(), testing::HasSubstr("MPI_THREAD_MULTIPLE"));
}

}  // namespace
}  // namespace eyrie::parallel
