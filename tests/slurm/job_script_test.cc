// The text of batch scripts: what it asks of Slurm, and that a shell reads it as it was meant.
#include "slurm/job_script.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "slurm/program.h"

namespace eyrie::slurm {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr const char* kBody =
    "#!/bin/bash\n#SBATCH --nodes=9\n# ---- from here on the same in every script\n"
    "printf '%s|' \"$EYRIE\" \"${EYRIE_STAGE-}\" \"${EYRIE_STARTS-}\" \"${EYRIE_NODES-}\" \"$@\"\n";

StageJob job_with(std::string eyrie, std::vector<std::string> arguments) {
  return {.run = "a run",
          .stage = "pre/train",
          .number = 0,
          .of = 2,
          .directory = "/runs/a run",
          .folder = "/home/it's",
          .eyrie = std::move(eyrie),
          .arguments = std::move(arguments)};
}

TEST(JobScript, AsksForWhatWasGivenAndNoMore) {
  const std::string plain = stage_script(job_with("/bin/eyrie", {"run.yaml"}), {}, kBody);
  for (const char* line : {"--nodes=1", "--ntasks-per-node=1", "--cpus-per-task=1"})
    EXPECT_THAT(plain, HasSubstr(std::string("#SBATCH ") + line + "\n"));
  EXPECT_THAT(plain, HasSubstr("#SBATCH --signal=USR1@120\n"));
  EXPECT_THAT(plain, HasSubstr("#SBATCH --requeue\n"));
  for (const char* option :
       {"partition", "account", "qos", "constraint", "gpus", "mem", "exclusive", "nodes=9"})
    EXPECT_THAT(plain, Not(HasSubstr(std::string("#SBATCH --") + option)));
  Resources resources;
  resources.least_nodes = 2;
  resources.most_nodes = 4;
  resources.node_counts = {2, 4};
  resources.tasks_per_node = 8;
  resources.cpus_per_task = 6;
  resources.gpus_per_node = 4;
  resources.memory_mb = 1000;
  resources.exclusive = true;
  resources.partition = "big";
  resources.account = "physics";
  resources.qos = "low";
  resources.constraint = "zen4&ib";
  resources.time = "2-0";
  resources.signal_seconds = 300;
  const std::string all = stage_script(job_with("/bin/eyrie", {"run.yaml"}), resources, kBody);
  for (const char* line : {"--nodes=2-4", "--mincpus=48", "--gpus-per-node=4", "--mem=1000M",
                           "--exclusive", "--partition=big", "--account=physics", "--qos=low",
                           "--constraint='zen4&ib'", "--time=2-0", "--signal=USR1@300"})
    EXPECT_THAT(all, HasSubstr(std::string("#SBATCH ") + line + "\n"));
}

TEST(JobScript, AShellReadsItAsItWasMeant) {
  Resources resources;
  resources.most_nodes = 3;
  resources.node_counts = {1, 2, 3};
  const std::vector<std::string> arguments = {"my run.yaml", "model={preset: griffin-10m}",
                                              "it's=$HOME `date`", "--until-stage", "pre/train"};
  const std::string script = stage_script(job_with("/a b/eyrie", arguments), resources, kBody);
  const ProgramResult result = run_program({"bash", "-c", script});
  EXPECT_EQ(result.errors, "");
  std::string expected = "/a b/eyrie|pre/train|/runs/a run/slurm/starts.jsonl|1 2 3|";
  for (const std::string& argument : arguments) expected += argument + "|";
  EXPECT_EQ(result.output, expected);
}

TEST(JobScript, ATaskOfAnArrayHasItsOwnRun) {
  const std::string folder = testing::TempDir();
  const ArrayJob job{.runs = {{"a", folder + "a", "a 1.yaml"}, {"b", folder + "b", "b.yaml"}},
                     .folder = "/",
                     .eyrie = "/bin/eyrie",
                     .assignments = {"seed=2"}};
  std::string script = array_script(job, {}, kBody);
  EXPECT_THAT(script, HasSubstr("#SBATCH --array=0-1\n"));
  run_program({"mkdir", "-p", folder + "b/slurm/logs"});
  run_program({"rm", "-f", folder + "b/slurm/logs/all-7_1.log"});
  const ProgramResult result =
      run_program({"env", "SLURM_ARRAY_TASK_ID=1", "SLURM_ARRAY_JOB_ID=7", "bash", "-c", script});
  EXPECT_EQ(result.errors, "");
  EXPECT_EQ(run_program({"cat", folder + "b/slurm/logs/all-7_1.log"}).output,
            "/bin/eyrie|all|" + folder + "b/slurm/starts.jsonl||b.yaml|seed=2|");
}

TEST(JobScript, ATaskOfAnEvaluationHasItsCheckpointAndTask) {
  const std::string folder = testing::TempDir() + "run";
  const EvaluationJob job{.run = "r",
                          .directory = folder,
                          .checkpoints = {"/r/checkpoints/step-1", "/r/checkpoints/step-2"},
                          .tasks = {"piqa", "mmlu", "boolq"},
                          .arguments = {"--limit", "4"},
                          .folder = "/",
                          .eyrie = "/bin/eyrie"};
  const std::string script = evaluation_script(job, {}, kBody);
  EXPECT_THAT(script, HasSubstr("#SBATCH --array=0-5\n"));
  const ProgramResult result = run_program({"env", "SLURM_ARRAY_TASK_ID=4", "bash", "-c", script});
  EXPECT_EQ(result.errors, "");
  EXPECT_EQ(result.output, "/bin/eyrie||||/r/checkpoints/step-2|--tasks|mmlu|--output|" + folder +
                               "/eval/step-2/mmlu|--limit|4|");
  EXPECT_THAT(table_script(job, {}), HasSubstr(folder + "/eval/step-1 " + folder + "/eval/step-2"));
}

TEST(JobScript, NamesOfFiles) {
  EXPECT_EQ(script_of("/runs/x", "pre/train"), "/runs/x/slurm/pre_train.sbatch");
  EXPECT_THROW(stage_script(job_with("eyrie", {}), {}, "no body"), base::Error);
}

TEST(JobScript, ABuildIsToldWhatItBuilds) {
  Resources resources;
  resources.memory_mb = 2000;
  const BuildJob job{.name = "my shards",
                     .directory = "/data/my shards",
                     .folder = "/home/me",
                     .eyrie = "/bin/eyrie",
                     .arguments = {"data.yaml", "validation=0.1"}};
  const std::string script = build_script(job, resources,
                                          "# ---- from here on the same\n"
                                          "printf '%s|' \"$EYRIE\" $EYRIE_COMMAND \"$@\"\n");
  for (const char* line : {"--job-name=my_shards-build", "--mem=2000M", "--requeue",
                           "--output='/data/my shards/slurm/logs/build-%j.log'"})
    EXPECT_THAT(script, HasSubstr(std::string("#SBATCH ") + line + "\n"));
  EXPECT_EQ(run_program({"bash", "-c", script}).output,
            "/bin/eyrie|data|build|data.yaml|validation=0.1|");
}

TEST(JobScript, TheNodesOwnFolderIsThatOfTheJob) {
  Resources resources;
  resources.local_shards = "$NODE_DISK/my shards";
  const std::string script =
      stage_script(job_with("/bin/eyrie", {"run.yaml"}), resources,
                   "# ---- from here on the same\nprintf '%s' \"$EYRIE_LOCAL_SHARDS\"\n");
  EXPECT_EQ(run_program({"env", "NODE_DISK=/ssd", "bash", "-c", script}).output, "/ssd/my shards");
  EXPECT_THAT(stage_script(job_with("/bin/eyrie", {}), {}, kBody), Not(HasSubstr("LOCAL_SHARDS")));
}

}  // namespace
}  // namespace eyrie::slurm
