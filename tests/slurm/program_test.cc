// Other programs: their output, status, and absence.
#include "slurm/program.h"

#include <gtest/gtest.h>

namespace eyrie::slurm {
namespace {

TEST(Program, OutputErrorsAndStatus) {
  const ProgramResult result = run_program({"sh", "-c", "echo out; echo err >&2; exit 3"});
  EXPECT_TRUE(result.found);
  EXPECT_EQ(result.status, 3);
  EXPECT_EQ(result.output, "out\n");
  EXPECT_EQ(result.errors, "err\n");
}

TEST(Program, ArgumentsAreNotReadByAShell) {
  EXPECT_EQ(run_program({"printf", "%s|", "a b", "$HOME", "*"}).output, "a b|$HOME|*|");
}

TEST(Program, MuchOnBothStreams) {
  // More than a pipe holds, on one after the other: neither waits for the reader of the other.
  const ProgramResult result =
      run_program({"sh", "-c", "head -c 300000 /dev/zero >&2; head -c 300001 /dev/zero"});
  EXPECT_EQ(result.output.size(), 300001u);
  EXPECT_EQ(result.errors.size(), 300000u);
}

TEST(Program, SignalAndAbsence) {
  EXPECT_EQ(run_program({"sh", "-c", "kill -KILL $$"}).status, 128 + 9);
  const ProgramResult none = run_program({"no-such-program-anywhere"});
  EXPECT_FALSE(none.found);
  EXPECT_EQ(none.status, 127);
}

}  // namespace
}  // namespace eyrie::slurm
