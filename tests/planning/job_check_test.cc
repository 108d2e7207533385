// What the nodes of a job can do: measured on ranks of this process, and what is said of made-up
// jobs.
#include "planning/job_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "parallel/communication/in_process_world.h"
#include "support/scratch_folder.h"

namespace eyrie::planning {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// Three nodes of two ranks that are all alike.
JobCheck alike() {
  JobCheck check;
  for (int r = 0; r < 6; ++r)
    check.ranks.push_back(
        {"n" + std::to_string(r / 2), {2 * (r % 2), 2 * (r % 2) + 1}, 2, 1e11, 4e11, 0.99, 2e10});
  for (int n = 0; n < 3; ++n)
    check.nodes.push_back({"n" + std::to_string(n), 2, 0, 1e-5, 1e9, 1e9, 0.001, ""});
  check.links = {{"n0", "n1", 2e-5, 1e9}, {"n0", "n2", 2e-5, 1e9}, {"n1", "n2", 2e-5, 1e9},
                 {"n0", "n0", 1e-6, 5e9}, {"n1", "n1", 1e-6, 5e9}, {"n2", "n2", 1e-6, 5e9}};
  return check;
}

TEST(JobCheck, NothingStandsOutWhereAllIsAlike) { EXPECT_THAT(findings(alike()), IsEmpty()); }

TEST(JobCheck, NamesWhatStandsOut) {
  const auto one = [](const std::function<void(JobCheck&)>& change) {
    JobCheck check = alike();
    change(check);
    return findings(check);
  };
  EXPECT_THAT(one([](JobCheck& c) { c.ranks[3].flops_fp32 = 5e10; }),
              ElementsAre(HasSubstr("n1 is slow: fp32 products 0.50")));
  EXPECT_THAT(one([](JobCheck& c) { c.ranks[4].memory_bandwidth = 1e10; }),
              ElementsAre(HasSubstr("n2 is slow: copies")));
  EXPECT_THAT(one([](JobCheck& c) {
                c.ranks[1].cores = {1, 2};
              }),
              ElementsAre(HasSubstr("ranks 0 and 1 on n0 may use the same 1 cores")));
  EXPECT_THAT(one([](JobCheck& c) { c.ranks[5].threads = 4; }),
              ElementsAre(HasSubstr("rank 5 on n2 has 4 threads for 2 cores")));
  EXPECT_THAT(one([](JobCheck& c) { c.ranks[2].busy = 0.5; }),
              ElementsAre(HasSubstr("rank 2 on n1 got 50 %")));
  EXPECT_THAT(one([](JobCheck& c) { c.links[1].bandwidth = 1e8; }),
              ElementsAre(HasSubstr("n0 to n2 carries 0.10")));
  EXPECT_THAT(one([](JobCheck& c) { c.nodes[2].clock_ahead = -3; }),
              ElementsAre(HasSubstr("the clock of n2 is 3.0 s behind")));
  EXPECT_THAT(one([](JobCheck& c) { c.nodes[1].seen_after = -1; }),
              ElementsAre(HasSubstr("n1 does not see a file")));
  EXPECT_THAT(one([](JobCheck& c) { c.nodes[1].fault = "no space"; }),
              ElementsAre(HasSubstr("n1 cannot use the folder: no space")));
}

TEST(JobCheck, TheMachineFileReadsBack) {
  JobCheck check = alike();
  check.ranks[3].flops_fp32 = 9e10;  // the slowest counts
  const test::ScratchFolder folder;
  const base::Path path = folder / "machine.yaml";
  base::write_file(path, machine_yaml(check, "three nodes"));
  const Machine machine = read_machine(path);
  EXPECT_EQ(machine.name, "three nodes");
  EXPECT_EQ(machine.ranks_per_node, 2);
  EXPECT_DOUBLE_EQ(machine.flops_fp32, 9e10);
  EXPECT_DOUBLE_EQ(machine.flops_bf16, 4e11);
  EXPECT_DOUBLE_EQ(machine.memory_bandwidth, 2e10);
  EXPECT_DOUBLE_EQ(machine.node.bandwidth, 5e9);
  EXPECT_DOUBLE_EQ(machine.network.bandwidth, 1e9);
  EXPECT_DOUBLE_EQ(machine.network.latency, 2e-5);
}

TEST(JobCheck, MeasuresEveryRank) {
  for (const int ranks : {1, 3}) {
    const test::ScratchFolder folder;
    parallel::run_in_process(ranks, [&](parallel::Communicator& world) {
      const JobCheck check = check_job(world, folder.path());
      ASSERT_EQ(std::ssize(check.ranks), ranks);
      for (const RankCheck& rank : check.ranks) {
        EXPECT_GT(rank.flops_fp32, 0);
        EXPECT_GT(rank.flops_bf16, 0);
        EXPECT_GT(rank.memory_bandwidth, 0);
        EXPECT_FALSE(rank.cores.empty());
      }
      ASSERT_EQ(check.nodes.size(), 1u);
      EXPECT_EQ(check.nodes[0].ranks, ranks);
      EXPECT_GT(check.nodes[0].write_speed, 0);
      EXPECT_GE(check.nodes[0].seen_after, 0);
      EXPECT_EQ(check.nodes[0].fault, "");
      ASSERT_EQ(check.links.size(), ranks > 1 ? 1u : 0u);
      if (ranks > 1) {
        EXPECT_GT(check.links[0].bandwidth, 0);
      }
    });
    EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
  }
}

}  // namespace
}  // namespace eyrie::planning
