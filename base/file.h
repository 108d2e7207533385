// The only place that touches the disk. Everything that must survive a crash goes through here:
// files appear whole or not at all (write to a temporary name, fsync, rename, fsync of the folder),
// and faults can be injected under every write.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>

namespace eyrie::base {

using Path = std::filesystem::path;

// An open file. Owns its descriptor; not copyable. All errors are base::Error with path, operation
// and the system's reason; if no space is left, the message says how much was needed. A missing
// file is an InputError.
class File {
 public:
  static File open(const Path& path);  // for reading
  // Creates a file for reading and writing. Throws Error if the name already exists, even as a
  // symbolic link. `permissions` are subject to the umask.
  static File create(const Path& path, unsigned permissions = 0666);
  static File modify(const Path& path);  // for reading and writing; must exist and is kept as it is
  File(File&& other) noexcept;
  File& operator=(File&& other) noexcept;
  ~File();  // closes without sync and ignores errors: call close() where they matter

  void read_at(std::span<std::byte> out, std::uint64_t offset) const;  // all of it, or throws
  void write_at(std::span<const std::byte> bytes, std::uint64_t offset);
  void truncate(std::uint64_t size);
  void sync();
  void close();
  std::uint64_t size() const;
  const Path& path() const { return path_; }
  int descriptor() const { return descriptor_; }

 private:
  File(Path path, int descriptor) : path_(std::move(path)), descriptor_(descriptor) {}
  Path path_;
  int descriptor_ = -1;
};

// A file mapped for reading; the mapping lives as long as the object.
class MappedFile {
 public:
  explicit MappedFile(const Path& path);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&&) = delete;
  ~MappedFile();
  std::span<const std::byte> bytes() const { return {data_, size_}; }
  // These bytes are not needed soon: they no longer count as this process's memory, and are read
  // again if they are used again.
  void release(std::size_t first, std::size_t count) const;

 private:
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

std::string read_file(const Path& path);

// Writes a whole file under `path`, or changes nothing: the file is written under a name beside it,
// synced and renamed (base/new_file.h). Symbolic links are followed. A device or a pipe is written
// to directly (base/output_place.h).
void write_file(const Path& path, std::string_view contents);

void rename_file(const Path& from, const Path& to);  // and syncs the folder of `to`
// Gives a file a second name, which must be new; where the file system cannot (another one, or none
// with links), a copy. The file must never be changed afterwards. Does not sync the folder of `to`.
void link_file(const Path& from, const Path& to);
void sync_directory(const Path& directory);
void make_directories(const Path& directory);  // follows symbolic links, even dangling ones
void remove_tree(const Path& path);  // a file, or a directory and its contents; may be missing
std::string host_name();
// Returns a hidden name beside `path` that no other process uses and that cannot be predicted:
// ".NAME.tmp-…". Create it with File::create, which refuses anything that already exists.
std::string temporary_name(const Path& path);

// Fault injection for tests: the hook is called before each operation with its name ("create",
// "write", "sync", "rename", "link", "truncate", "remove") and path. If it returns anything but 0,
// the operation fails with that errno. kShortWrite makes a "write" fail with EIO after half of its
// bytes. Set the hook before any thread starts.
constexpr int kShortWrite = -1;
using FaultHook = std::function<int(std::string_view operation, const Path& path)>;
void set_fault_hook(FaultHook hook);

}  // namespace eyrie::base
