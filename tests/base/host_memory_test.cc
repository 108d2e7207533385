// The memory that a process may use, of machines and control groups made of files.
#include "base/host_memory.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "support/scratch_folder.h"

namespace eyrie::base {
namespace {

constexpr std::int64_t kGiB = std::int64_t{1} << 30;

class HostMemoryTest : public testing::Test {
 protected:
  void SetUp() override {
    for (const char* name :
         {"SLURM_JOB_ID", "SLURM_MEM_PER_NODE", "SLURM_MEM_PER_CPU", "SLURM_CPUS_ON_NODE"})
      ::unsetenv(name);
    put("proc/meminfo",
        "MemTotal:       67108864 kB\nMemFree: 1 kB\nMemAvailable:   50331648 kB\n");
  }
  void TearDown() override { SetUp(); }
  void put(const std::string& file, const std::string& text) {
    std::filesystem::create_directories((folder_.path() / file).parent_path());
    std::ofstream(folder_.path() / file) << text;
  }
  HostMemory read() const { return host_memory(folder_.path()); }
  test::ScratchFolder folder_;
};

TEST_F(HostMemoryTest, IsTheMachines) {
  EXPECT_EQ(read().most, 64 * kGiB);
  EXPECT_EQ(read().left, 48 * kGiB);
  EXPECT_EQ(read().limit, "this machine");
}

TEST_F(HostMemoryTest, NothingIsKnownWithoutProc) {
  EXPECT_EQ(host_memory(folder_.path() / "nowhere").most, 0);
}

// The tightest of the groups from the process's own to the top; the page cache counts as free.
TEST_F(HostMemoryTest, IsLimitedByControlGroups) {
  put("proc/self/cgroup", "0::/job/step\n");
  put("sys/fs/cgroup/job/step/memory.max", "max\n");
  put("sys/fs/cgroup/job/memory.max", std::to_string(16 * kGiB) + "\n");
  put("sys/fs/cgroup/job/memory.current", std::to_string(10 * kGiB) + "\n");
  put("sys/fs/cgroup/job/memory.stat",
      "anon 1\ninactive_file " + std::to_string(4 * kGiB) + "\nfile 2\n");
  EXPECT_EQ(read().most, 16 * kGiB);
  EXPECT_EQ(read().left, 10 * kGiB);
  EXPECT_EQ(read().limit, "its control group");
  put("sys/fs/cgroup/job/memory.max", std::to_string(600 * kGiB) + "\n");  // more than there is
  EXPECT_EQ(read().limit, "this machine");
}

TEST_F(HostMemoryTest, IsLimitedByTheFirstVersionOfControlGroups) {
  put("proc/self/cgroup", "9:cpu,cpuacct:/user\n4:memory:/slurm/job_7\n");
  put("sys/fs/cgroup/memory/slurm/job_7/memory.limit_in_bytes", std::to_string(8 * kGiB) + "\n");
  put("sys/fs/cgroup/memory/slurm/job_7/memory.usage_in_bytes", std::to_string(kGiB) + "\n");
  put("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  EXPECT_EQ(read().most, 8 * kGiB);
  EXPECT_EQ(read().left, 7 * kGiB);
}

// A path of the host's, as seen in a container.
TEST_F(HostMemoryTest, FallsBackToTheTopFolder) {
  put("proc/self/cgroup", "0::/of/the/host\n");
  put("sys/fs/cgroup/memory.max", std::to_string(4 * kGiB) + "\n");
  EXPECT_EQ(read().most, 4 * kGiB);
}

TEST_F(HostMemoryTest, IsLimitedBySlurm) {
  ::setenv("SLURM_JOB_ID", "7", 1);
  ::setenv("SLURM_MEM_PER_CPU", "2048", 1);
  ::setenv("SLURM_CPUS_ON_NODE", "4", 1);
  EXPECT_EQ(read().most, 8 * kGiB);
  EXPECT_EQ(read().limit, "the Slurm job");
  ::setenv("SLURM_MEM_PER_NODE", "4096", 1);
  EXPECT_EQ(read().most, 4 * kGiB);
  ::setenv("SLURM_MEM_PER_NODE", "0", 1);  // all of the node
  ::unsetenv("SLURM_MEM_PER_CPU");
  EXPECT_EQ(read().limit, "this machine");
}

}  // namespace
}  // namespace eyrie::base
