// What lies under an output's path decides how it is written, and what cannot be written is known
// before.
#include "base/output_place.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <functional>
#include <thread>

#include <fmt/format.h>

#include "base/error.h"
#include "base/hdf5_file.h"
#include "base/new_file.h"
#include "support/scratch_folder.h"

namespace eyrie::base {
namespace {

namespace fs = std::filesystem;
using test::message_of;
using test::ScratchFolder;

std::size_t entries_in(const Path& directory) {
  return static_cast<std::size_t>(std::distance(fs::directory_iterator(directory), {}));
}

unsigned permissions_of(const Path& path) {
  struct stat status {};
  EXPECT_EQ(::stat(path.c_str(), &status), 0);
  return status.st_mode & 07777;
}

bool holds(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST(OutputPlace, LinksAreFollowedAndStay) {
  ScratchFolder folder;
  fs::create_directory(folder / "elsewhere");
  write_file(folder / "elsewhere/target", "old");
  fs::create_symlink("elsewhere/target", folder / "relative");
  fs::create_symlink(folder / "relative", folder / "link");
  write_file(folder / "link", "new");
  EXPECT_TRUE(fs::is_symlink(folder / "link"));
  EXPECT_TRUE(fs::is_symlink(folder / "relative"));
  EXPECT_EQ(read_file(folder / "elsewhere/target"), "new");
  EXPECT_EQ(entries_in(folder / "elsewhere"), 1u);
  Hdf5Writer writer(folder / "link");
  writer.write<float>("a", {1});
  writer.commit();
  EXPECT_TRUE(fs::is_symlink(folder / "link"));
  EXPECT_TRUE(Hdf5Reader(folder / "elsewhere/target", "").has("a"));
}

TEST(OutputPlace, ALinkToNothingMakesItsTarget) {
  ScratchFolder folder;
  fs::create_directory(folder / "elsewhere");
  fs::create_symlink("elsewhere/target", folder / "link");
  check_output_file("--output", folder / "link");
  write_file(folder / "link", "new");
  EXPECT_EQ(read_file(folder / "elsewhere/target"), "new");
  fs::create_symlink("far/away", folder / "run");
  fs::create_directory(folder / "far");
  make_directories(folder / "run/log");
  EXPECT_TRUE(fs::is_directory(folder / "far/away/log"));
  fs::create_symlink("round", folder / "round");
  EXPECT_TRUE(holds(message_of<InputError>([&] { write_file(folder / "round", "x"); }), "round"));
  EXPECT_THROW(make_directories(folder / "round"), Error);
}

TEST(OutputPlace, PipesAreWrittenTo) {
  ScratchFolder folder;
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  fs::create_symlink("pipe", folder / "link");
  for (const char* name : {"pipe", "link"}) {
    check_output_file("--output", folder / name);
    std::string read;
    std::thread reader([&] { read = read_file(folder / name); });
    const std::string contents(300'000, 'x');
    write_file(folder / name, contents);
    reader.join();
    EXPECT_EQ(read, contents);
  }
  EXPECT_TRUE(fs::is_fifo(folder / "pipe"));
  EXPECT_EQ(entries_in(folder.path()), 2u);
}

TEST(OutputPlace, WhatIsNotWrittenFrontToBackNeedsAFile) {
  ScratchFolder folder;
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  for (const std::string& path : {(folder / "pipe").string(), std::string("/dev/null")}) {
    EXPECT_TRUE(holds(message_of<InputError>([&] { Hdf5Writer writer(path); }), path));
    EXPECT_TRUE(
        holds(message_of<InputError>([&] { check_output_file("--save-state", path, Order::kAny); }),
              path));
    check_output_file("--output", path);
  }
}

TEST(OutputPlace, OwnDescriptorsGoOnWhereTheyStand) {
  ScratchFolder folder;
  File file = File::create(folder / "both");
  ASSERT_EQ(::write(file.descriptor(), "before ", 7), 7);
  const Path name = fmt::format("/dev/fd/{}", file.descriptor());
  check_output_file("--output", name);
  write_file(name, "in ");
  fs::create_symlink(fmt::format("/proc/self/fd/{}", file.descriptor()), folder / "link");
  write_file(folder / "link", "here ");
  ASSERT_EQ(::write(file.descriptor(), "after", 5), 5);
  EXPECT_EQ(read_file(folder / "both"), "before in here after");
  const File closed = File::open(folder / "both");  // for reading alone
  EXPECT_THROW(check_output_file("--output", fmt::format("/dev/fd/{}", closed.descriptor())),
               InputError);
}

TEST(OutputPlace, ThePermissionsOfWhatIsReplacedStay) {
  ScratchFolder folder;
  write_file(folder / "secret", "old");
  for (const unsigned permissions : {0600u, 0640u, 0666u}) {
    ASSERT_EQ(::chmod((folder / "secret").c_str(), permissions), 0);
    write_file(folder / "secret", "new");
    EXPECT_EQ(permissions_of(folder / "secret"), permissions);
  }
}

TEST(OutputPlace, DirectoriesAndSocketsAreNamed) {
  ScratchFolder folder;
  EXPECT_TRUE(holds(message_of<InputError>([&] { write_file(folder.path(), "x"); }), "directory"));
  EXPECT_TRUE(holds(message_of<InputError>([&] { check_output_file("--output", folder.path()); }),
                    "--output"));
  EXPECT_THROW(write_file("", "x"), InputError);
  EXPECT_THROW(write_file(folder / "none/", "x"), InputError);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, (folder / "socket").c_str(), sizeof address.sun_path - 1);
  const int descriptor = ::socket(AF_UNIX, SOCK_STREAM, 0);
  ASSERT_EQ(::bind(descriptor, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  EXPECT_TRUE(holds(message_of<InputError>([&] { write_file(folder / "socket", "x"); }), "socket"));
  ::close(descriptor);
}

TEST(OutputPlace, TheFullDeviceIsFull) {
  const std::string message = message_of<Error>([&] { write_file("/dev/full", "x"); });
  EXPECT_TRUE(holds(message, "no space left: writing /dev/full failed (1 bytes")) << message;
}

TEST(NewFile, TakesNothingThatIsThere) {
  ScratchFolder folder;
  write_file(folder / "there", "kept");
  fs::create_symlink("there", folder / "link");
  fs::create_symlink("nowhere", folder / "dangling");
  for (const char* name : {"there", "link", "dangling"})
    EXPECT_THROW(File::create(folder / name), Error) << name;
  EXPECT_EQ(read_file(folder / "there"), "kept");
  EXPECT_FALSE(fs::exists(folder / "nowhere"));
  { NewFile unfinished(folder / "there"); }
  EXPECT_EQ(entries_in(folder.path()), 3u);
}

TEST(NewFile, LongNamesFit) {
  ScratchFolder folder;
  const std::string name(255, 'n');
  write_file(folder / name, "x");
  EXPECT_EQ(read_file(folder / name), "x");
  EXPECT_TRUE(
      holds(message_of<InputError>([&] { check_output_file("--output", folder / (name + "n")); }),
            "--output"));
}

TEST(OutputCheck, NothingStays) {
  ScratchFolder folder;
  check_output_file("--output", folder / "results.jsonl");
  check_output_folder("--output", folder / "a/b/c");
  check_output_folder("--output", folder.path());
  EXPECT_EQ(entries_in(folder.path()), 0u);
  check_output_folder("--output", folder / "a/b/c", true);
  EXPECT_TRUE(fs::is_directory(folder / "a/b/c"));
  EXPECT_EQ(entries_in(folder / "a/b/c"), 0u);
}

TEST(OutputCheck, WhatCannotBeWrittenIsNamed) {
  ScratchFolder folder;
  write_file(folder / "file", "x");
  for (const char* path : {"none/results.jsonl", "file/results.jsonl"}) {
    const std::string message =
        message_of<InputError>([&] { check_output_file("--output", folder / path); });
    EXPECT_TRUE(holds(message, "--output: " + (folder / path).string())) << message;
  }
  const std::string message = message_of<InputError>(
      [&] { check_output_folder("run.yaml: directory", folder / "file/x"); });
  EXPECT_TRUE(holds(message, "run.yaml: directory: ")) << message;
  EXPECT_TRUE(holds(message, "is a file, not a folder")) << message;
}

// In a process that is not root's, to whom everything is permitted.
TEST(OutputCheck, FoldersWithoutPermission) {
  ScratchFolder folder;
  fs::permissions(folder.path(), fs::perms::all);
  fs::create_directory(folder / "closed");
  fs::permissions(folder / "closed", fs::perms::owner_read | fs::perms::owner_exec |
                                         fs::perms::others_read | fs::perms::others_exec);
  const pid_t child = ::fork();
  if (child == 0) {
    constexpr unsigned kNobody = 65534;
    if (::geteuid() == 0 && ::setresuid(kNobody, kNobody, kNobody) != 0) ::_exit(9);
    int refused = 0;
    const auto count = [&](const std::function<void()>& check) {
      if (holds(message_of<InputError>(check), "Permission denied")) ++refused;
    };
    count([&] { check_output_file("--output", folder / "closed/x"); });
    count([&] { check_output_folder("--output", folder / "closed"); });
    count([&] { check_output_folder("--output", folder / "closed/x/y"); });
    ::_exit(refused);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 3);
  fs::permissions(folder / "closed", fs::perms::owner_all);
}

}  // namespace
}  // namespace eyrie::base
