// What is printed: made safe to look at, and what could not be handed over is known at the end.
// Each test prints in a process of its own.
#include "base/output.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <functional>
#include <iostream>

#include "base/error.h"
#include "base/file.h"
#include "support/scratch_folder.h"

namespace eyrie::base {
namespace {

using test::ScratchFolder;

// The wait status of a child with `path` as its stdout, "" for a closed one.
int status_of(const Path& path, const Path& errors, const std::function<int()>& body) {
  std::fflush(nullptr);
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(STDERR_FILENO);
    if (::open(errors.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600) != STDERR_FILENO) ::_exit(99);
    ::close(STDOUT_FILENO);
    if (!path.empty() && ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600) != STDOUT_FILENO)
      ::_exit(98);
    open_standard_streams();
    ::_exit(body());
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return status;
}

TEST(Output, EveryWayOutIsOneWay) {
  ScratchFolder folder;
  const int status = status_of(folder / "out", folder / "err", [] {
    print("{}\t{}\n", "a\x1b[2J", 1);
    std::cout << "b\r" << 2 << std::endl;
    print_json("{\"c\": \"\xc2\x9b\"}\n");
    std::cerr << "d\a\n";
    print_error("e\x1b\n");
    return finish_output(0);
  });
  EXPECT_EQ(status, 0);
  EXPECT_EQ(read_file(folder / "out"), "a\\x1b[2J\t1\nb\\x0d2\n{\"c\": \"\\u009b\"}\n");
  EXPECT_EQ(read_file(folder / "err"), "d\\x07\ne\\x1b\n");
}

TEST(Output, AFullDeviceIsAFailureWithItsReason) {
  ScratchFolder folder;
  for (const std::size_t size : {std::size_t{1}, std::size_t{1} << 20}) {
    for (const bool stream : {false, true}) {
      const int status = status_of("/dev/full", folder / "err", [&] {
        const std::string text(size, 'x');
        if (stream) {
          std::cout << text << std::flush;
        } else {
          print_text(text);
        }
        return finish_output(0);
      });
      ASSERT_TRUE(WIFEXITED(status));
      EXPECT_EQ(WEXITSTATUS(status), kExitFailure);
      EXPECT_NE(read_file(folder / "err").find("No space left"), std::string::npos);
    }
  }
  EXPECT_EQ(WEXITSTATUS(status_of("/dev/full", folder / "err",
                                  [] {
                                    print("x");
                                    return finish_output(kExitInput);
                                  })),
            kExitInput);
  // Only what is printed can fail.
  EXPECT_EQ(status_of("/dev/full", folder / "err", [] { return finish_output(0); }), 0);
}

TEST(Output, ACommandMayAskForWhatFailed) {
  ScratchFolder folder;
  const int status = status_of("/dev/full", folder / "err", [] {
    print("x");
    try {
      flush_output();
    } catch (const Error&) {
      return 7;
    }
    return 8;
  });
  EXPECT_EQ(WEXITSTATUS(status), 7);
}

TEST(Output, AReaderThatHasGoneEndsItQuietly) {
  ScratchFolder folder;
  for (const bool at_end : {false, true}) {
    const int status = status_of(folder / "out", folder / "err", [&] {
      int ends[2];
      if (::pipe(ends) != 0) return 97;
      ::dup2(ends[1], STDOUT_FILENO);
      ::close(ends[1]);
      ::close(ends[0]);
      print("x\n");
      if (!at_end) flush_output();
      return finish_output(0);
    });
    ASSERT_TRUE(WIFSIGNALED(status)) << status;
    EXPECT_EQ(WTERMSIG(status), SIGPIPE);
    EXPECT_EQ(read_file(folder / "err"), "");
  }
}

TEST(Output, AClosedStdoutIsNobodyElses) {
  ScratchFolder folder;
  const int status = status_of("", folder / "err", [&] {
    const File file = File::create(folder / "file");
    if (file.descriptor() <= 2) return 96;
    try {
      check_output_is_open();
      return 95;
    } catch (const Error&) {
    }
    print("lost\n");
    return finish_output(0);
  });
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), kExitFailure);
  EXPECT_EQ(read_file(folder / "file"), "");
  EXPECT_NE(read_file(folder / "err").find("stdout is closed"), std::string::npos);
  EXPECT_EQ(status_of(folder / "out", folder / "err",
                      [] {
                        check_output_is_open();
                        return finish_output(0);
                      }),
            0);
}

}  // namespace
}  // namespace eyrie::base
