// Files: what is written can be read, appears whole or not at all, and every failure says what
// happened.
#include "base/file.h"

#include <gtest/gtest.h>

#include <cerrno>

#include "base/error.h"
#include "support/scratch_folder.h"

namespace eyrie::base {
namespace {

using test::message_of;
using test::ScratchFolder;

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

// The hook is process-wide: taken away at the end of each test.
class FileFault : public testing::Test {
 protected:
  ~FileFault() override { set_fault_hook(nullptr); }

  // Operation number `at` (from 0) fails with `error`; counts all operations.
  void fail_at(int at, int error) {
    count_ = 0;
    set_fault_hook(
        [this, at, error](std::string_view, const Path&) { return count_++ == at ? error : 0; });
  }
  void fail_on(const std::string& operation, int error) {
    set_fault_hook([operation, error](std::string_view name, const Path&) {
      return name == operation ? error : 0;
    });
  }

  ScratchFolder folder_;
  int count_ = 0;
};

std::size_t entries_in(const Path& directory) {
  return static_cast<std::size_t>(
      std::distance(std::filesystem::directory_iterator(directory), {}));
}

TEST(File, WritesAndReadsAtOffsets) {
  ScratchFolder folder;
  File file = File::create(folder / "a");
  file.write_at(bytes_of("world"), 6);
  file.write_at(bytes_of("hello "), 0);
  EXPECT_EQ(file.size(), 11u);
  std::string back(5, ' ');
  file.read_at(std::as_writable_bytes(std::span(back)), 3);
  EXPECT_EQ(back, "lo wo");
  file.truncate(5);
  file.sync();
  file.close();
  EXPECT_EQ(read_file(folder / "a"), "hello");
}

TEST(File, ReadPastTheEndIsATruncatedFile) {
  ScratchFolder folder;
  write_file(folder / "a", "12345");
  const File file = File::open(folder / "a");
  std::string back(4, ' ');
  const std::string message =
      message_of<InputError>([&] { file.read_at(std::as_writable_bytes(std::span(back)), 3); });
  EXPECT_NE(message.find("is truncated: it ends at byte 5, byte 7 was expected"), std::string::npos)
      << message;
}

TEST(File, MissingFileIsTheUsersInput) {
  ScratchFolder folder;
  const std::string message = message_of<InputError>([&] { read_file(folder / "none.yaml"); });
  EXPECT_NE(message.find("none.yaml: No such file or directory"), std::string::npos) << message;
  EXPECT_THROW(MappedFile(folder / "none"), InputError);
  EXPECT_NE(message_of<InputError>([&] { read_file(folder.path()); }).find("is a directory"),
            std::string::npos);
}

TEST(File, MovesKeepTheDescriptor) {
  ScratchFolder folder;
  File a = File::create(folder / "a");
  File b = std::move(a);
  EXPECT_EQ(a.descriptor(), -1);
  b.write_at(bytes_of("x"), 0);
  b = File::create(folder / "b");
  EXPECT_EQ(b.path(), folder / "b");
  EXPECT_EQ(read_file(folder / "a"), "x");
}

TEST(File, MapsFiles) {
  ScratchFolder folder;
  write_file(folder / "a", "mapped");
  write_file(folder / "empty", "");
  MappedFile map(folder / "a");
  MappedFile moved = std::move(map);
  EXPECT_TRUE(map.bytes().empty());
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(moved.bytes().data()), moved.bytes().size()),
            "mapped");
  EXPECT_TRUE(MappedFile(folder / "empty").bytes().empty());
}

TEST(File, WriteFileReplacesAndLeavesNothingBeside) {
  ScratchFolder folder;
  write_file(folder / "a", "old");
  write_file(folder / "a", std::string(100'000, 'n'));
  EXPECT_EQ(read_file(folder / "a"), std::string(100'000, 'n'));
  write_file(folder / "a", "");
  EXPECT_EQ(read_file(folder / "a"), "");
  EXPECT_EQ(entries_in(folder.path()), 1u);
}

TEST(File, DirectoriesAreMadeAndRemoved) {
  ScratchFolder folder;
  make_directories(folder / "a/b/c");
  make_directories(folder / "a/b/c");
  EXPECT_TRUE(std::filesystem::is_directory(folder / "a/b/c"));
  write_file(folder / "a/b/file", "x");
  EXPECT_NE(message_of<Error>([&] { make_directories(folder / "a/b/file"); }).find("in the way"),
            std::string::npos);
  remove_tree(folder / "a");
  remove_tree(folder / "a");
  EXPECT_EQ(entries_in(folder.path()), 0u);
}

TEST(File, TemporaryNamesDiffer) {
  const Path a = temporary_name("x/shard.h5");
  const Path b = temporary_name("x/shard.h5");
  EXPECT_NE(a, b);
  EXPECT_EQ(a.parent_path(), "x");
  EXPECT_EQ(Path(temporary_name("shard.h5")).parent_path(), "");
}

TEST_F(FileFault, WholeOrNotAtAllUnderEveryFault) {
  write_file(folder_ / "a", "old contents");
  fail_at(-1, 0);
  write_file(folder_ / "counted", "x");
  const int operations = count_;
  EXPECT_EQ(operations, 5);  // create, write, sync, rename, sync of the folder
  set_fault_hook(nullptr);
  remove_tree(folder_ / "counted");
  for (const int error : {EIO, ENOSPC, kShortWrite}) {
    for (int at = 0; at < operations; ++at) {
      write_file(folder_ / "a", "old contents");
      fail_at(at, error);
      EXPECT_THROW(write_file(folder_ / "a", "new contents"), Error) << at;
      set_fault_hook(nullptr);
      // After the rename (only the folder's sync failed) the new contents stand; before it, the
      // old.
      EXPECT_EQ(read_file(folder_ / "a"), at == operations - 1 ? "new contents" : "old contents");
      EXPECT_EQ(entries_in(folder_.path()), 1u) << at;
    }
  }
}

TEST_F(FileFault, NoSpaceIsSaidInPlainWords) {
  File file = File::create(folder_ / "big");
  fail_on("write", ENOSPC);
  const std::string message =
      message_of<Error>([&] { file.write_at(bytes_of(std::string(1000, 'x')), 0); });
  EXPECT_NE(message.find("no space left"), std::string::npos) << message;
  EXPECT_NE(message.find((folder_ / "big").string()), std::string::npos) << message;
  EXPECT_NE(message.find("1000 bytes"), std::string::npos) << message;
  EXPECT_NE(message.find("free some space"), std::string::npos) << message;
}

TEST_F(FileFault, ShortWriteLeavesHalf) {
  File file = File::create(folder_ / "half");
  fail_on("write", kShortWrite);
  EXPECT_NE(message_of<Error>([&] { file.write_at(bytes_of("12345678"), 0); }).find("writing"),
            std::string::npos);
  EXPECT_EQ(read_file(folder_ / "half"), "1234");
}

TEST_F(FileFault, EachOperationAsks) {
  const Path path = folder_ / "f";
  fail_on("create", EACCES);
  EXPECT_THROW(File::create(path), Error);
  EXPECT_THROW(make_directories(folder_ / "d"), Error);
  set_fault_hook(nullptr);
  File file = File::create(path);
  fail_on("truncate", EIO);
  EXPECT_THROW(file.truncate(1), Error);
  fail_on("sync", EIO);
  EXPECT_THROW(file.sync(), Error);
  EXPECT_THROW(sync_directory(folder_.path()), Error);
  fail_on("rename", EIO);
  EXPECT_THROW(rename_file(path, folder_ / "g"), Error);
  EXPECT_TRUE(std::filesystem::exists(path));
  fail_on("remove", EIO);
  EXPECT_THROW(remove_tree(path), Error);
  EXPECT_TRUE(std::filesystem::exists(path));
}

TEST(File, RealDeviceWithoutSpace) {
  // /dev/full is always full: the system's own error, not an injected one.
  File file = File::modify("/dev/full");
  const std::string message = message_of<Error>([&] { file.write_at(bytes_of("x"), 0); });
  EXPECT_NE(message.find("no space left: writing /dev/full failed (1 bytes"), std::string::npos)
      << message;
}

}  // namespace
}  // namespace eyrie::base
