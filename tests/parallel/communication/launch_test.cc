// What is known of a launcher and of a batch system from the environment.
#include "parallel/communication/launch.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <string>

#include "support/scratch_folder.h"

namespace eyrie::parallel {
namespace {

constexpr const char* kNames[] = {"OMPI_COMM_WORLD_RANK",
                                  "OMPI_COMM_WORLD_SIZE",
                                  "PMIX_RANK",
                                  "PMI_RANK",
                                  "PMI_SIZE",
                                  "SLURM_PROCID",
                                  "SLURM_NPROCS",
                                  "SLURM_STEP_NUM_TASKS",
                                  "SLURM_STEP_ID",
                                  "SLURM_STEPID",
                                  "SLURM_JOB_ID",
                                  "SLURM_NTASKS",
                                  "SLURM_NTASKS_PER_NODE",
                                  "SLURM_JOB_NUM_NODES",
                                  "SLURM_NNODES",
                                  "PBS_NODEFILE",
                                  "LSB_MCPU_HOSTS",
                                  "PE_HOSTFILE"};

void set(const std::map<std::string, std::string>& variables) {
  for (const char* name : kNames) ::unsetenv(name);
  for (const auto& [name, value] : variables) ::setenv(name.c_str(), value.c_str(), 1);
}

class LaunchTest : public testing::Test {
 protected:
  void TearDown() override { set({}); }
};

TEST_F(LaunchTest, RanksAndTheirNumbers) {
  const auto launch = [](const std::map<std::string, std::string>& variables) {
    set(variables);
    const Launch found = launch_of_environment();
    return std::pair(found.ranks, found.rank);
  };
  EXPECT_EQ(launch({}), std::pair(0, 0));
  EXPECT_EQ(launch({{"OMPI_COMM_WORLD_SIZE", "4"}, {"OMPI_COMM_WORLD_RANK", "3"}}),
            std::pair(4, 3));
  EXPECT_EQ(launch({{"PMI_SIZE", "2"}, {"PMI_RANK", "1"}}), std::pair(2, 1));
  EXPECT_EQ(launch({{"PMIX_RANK", "5"}, {"SLURM_STEP_NUM_TASKS", "8"}, {"SLURM_PROCID", "5"}}),
            std::pair(8, 5));
  EXPECT_EQ(launch({{"SLURM_STEP_NUM_TASKS", "8"}, {"SLURM_PROCID", "5"}}), std::pair(8, 5));
  // A batch script's own process.
  EXPECT_EQ(launch({{"SLURM_JOB_ID", "7"}, {"SLURM_NTASKS", "8"}, {"SLURM_PROCID", "0"}}),
            std::pair(0, 0));
}

TEST_F(LaunchTest, AnAllocationThatOneProcessUses) {
  const auto unused = [](const std::map<std::string, std::string>& variables) {
    set(variables);
    return unused_allocation().what;
  };
  EXPECT_EQ(unused({}), "");
  EXPECT_EQ(unused({{"SLURM_JOB_ID", "7"}, {"SLURM_NTASKS", "8"}, {"SLURM_NNODES", "2"}}),
            "8 tasks on 2 nodes of Slurm job 7");
  EXPECT_EQ(unused({{"SLURM_JOB_ID", "7"}, {"SLURM_JOB_NUM_NODES", "2"}}),
            "2 tasks on 2 nodes of Slurm job 7");
  EXPECT_EQ(unused({{"SLURM_JOB_ID", "7"}, {"SLURM_NNODES", "1"}, {"SLURM_NTASKS_PER_NODE", "4"}}),
            "4 tasks on 1 node of Slurm job 7");
  // An interactive shell is a step with a number near 2^32.
  EXPECT_EQ(unused({{"SLURM_JOB_ID", "7"}, {"SLURM_NTASKS", "2"}, {"SLURM_STEP_ID", "4294967290"}}),
            "2 tasks on 1 node of Slurm job 7");
  EXPECT_EQ(unused({{"SLURM_JOB_ID", "7"}, {"SLURM_NTASKS", "1"}, {"SLURM_NNODES", "1"}}), "");
  // srun of one task, and mpirun, are meant.
  EXPECT_EQ(unused({{"SLURM_JOB_ID", "7"}, {"SLURM_NTASKS", "8"}, {"SLURM_STEP_ID", "0"}}), "");
  EXPECT_EQ(unused({{"SLURM_JOB_ID", "7"}, {"SLURM_NTASKS", "8"}, {"OMPI_COMM_WORLD_SIZE", "1"}}),
            "");

  const test::ScratchFolder folder;
  const std::string file = (folder.path() / "nodes").string();
  std::ofstream(file) << "n1\nn1\nn2\n";
  EXPECT_EQ(unused({{"PBS_NODEFILE", file}, {"PBS_JOBID", "9.head"}}), "2 hosts of PBS job 9.head");
  std::ofstream(file) << "n1\nn1\n";
  EXPECT_EQ(unused({{"PBS_NODEFILE", file}, {"PBS_JOBID", "9.head"}}), "");
  EXPECT_EQ(unused({{"LSB_MCPU_HOSTS", "a 4 b 4"}, {"LSB_JOBID", "3"}}), "2 hosts of LSF job 3");
}

}  // namespace
}  // namespace eyrie::parallel
