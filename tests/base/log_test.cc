// Where messages go: stderr by rank and level, and the rank's file.
#include "base/log.h"

#include <gtest/gtest.h>

#include <regex>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "support/scratch_folder.h"

namespace eyrie::base {
namespace {

using test::ScratchFolder;

template <class Body>
std::string stderr_of(int as_rank, Body&& body) {
  testing::internal::CaptureStderr();
  set_rank(as_rank);
  body();
  set_rank(-1);
  flush_logs();
  return testing::internal::GetCapturedStderr();
}

TEST(Log, OneLineWithTimeAndRank) {
  const std::string line = stderr_of(0, [] { log_info("step 3"); });
  EXPECT_TRUE(std::regex_match(
      line, std::regex("\\[\\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\d:\\d\\d\\] rank 0: step 3\n")))
      << line;
}

TEST(Log, OutsideOfAJobWithoutRank) {
  const std::string line = stderr_of(-1, [] { log_info("a {brace} and 100%"); });
  EXPECT_NE(line.find("] a {brace} and 100%\n"), std::string::npos) << line;
}

TEST(Log, ControlCharactersAreShown) {
  ScratchFolder folder;
  const std::string lines = stderr_of(0, [&] {
    log_to_directory(folder.path(), 0);
    log_info("a\x1b[2J\tb\r\nc \xe2\x80\xae \xfc");
  });
  for (const std::string& text : {lines, read_file(folder / "rank-0000.log")})
    EXPECT_NE(text.find("a\\x1b[2J\tb\\x0d\nc \\u202e \\xfc\n"), std::string::npos) << text;
}

TEST(Log, OtherRanksAreQuietButForTrouble) {
  EXPECT_EQ(stderr_of(2, [] { log_info("x"); }), "");
  EXPECT_NE(stderr_of(2, [] { log_warning("hot"); }).find("rank 2: warning: hot\n"),
            std::string::npos);
  EXPECT_NE(stderr_of(2, [] { log_error("lost"); }).find("rank 2: error: lost\n"),
            std::string::npos);
}

TEST(Log, FileGetsEverythingAndIsAppendedTo) {
  ScratchFolder folder;
  const std::string directory = folder / "run/log";
  stderr_of(2, [&] {
    log_to_directory(directory, 2);
    log_info("first");
  });
  stderr_of(2, [&] {
    log_to_directory(directory, 2);
    log_warning("second");
  });
  const std::string text = read_file(folder / "run/log/rank-0002.log");
  const std::size_t first = text.find("rank 2: first\n");
  const std::size_t second = text.find("rank 2: warning: second\n");
  ASSERT_NE(first, std::string::npos) << text;
  ASSERT_NE(second, std::string::npos) << text;
  EXPECT_LT(first, second);
}

TEST(Log, LinesOfThreadsStayWhole) {
  ScratchFolder folder;
  log_to_directory(folder.path(), 0);
  const std::string body(300, 'x');
  std::vector<std::thread> threads;
  for (int t = 1; t <= 4; ++t) {
    threads.emplace_back([&, t] {
      set_rank(t);
      for (int i = 0; i < 50; ++i) log_info(body + "end");
    });
  }
  for (auto& thread : threads) thread.join();
  flush_logs();
  const std::string text = read_file(folder / "rank-0000.log");
  std::size_t lines = 0;
  for (std::size_t at = 0; (at = text.find(": " + body + "end\n", at)) != std::string::npos; ++at) {
    ++lines;
  }
  EXPECT_EQ(lines, 200u);
}

TEST(Log, FolderThatCannotBeMadeIsAnError) {
  ScratchFolder folder;
  write_file(folder / "file", "x");
  EXPECT_THROW(log_to_directory(folder / "file/log", 0), Error);
}

}  // namespace
}  // namespace eyrie::base
