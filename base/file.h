// The one place that touches the disk. Everything that must survive a crash goes through here:
// files appear whole or not at all (write beside, fsync, rename, fsync of the folder), and faults
// can be injected under every write.
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
// and the system's reason; no space left says how much was needed; a file that is not there is an
// InputError.
class File {
 public:
  static File open(const Path& path);  // for reading
  // For reading and writing; made by this call: an Error where something of that name is there, a
  // link too. `permissions` as the process's mask leaves them.
  static File create(const Path& path, unsigned permissions = 0666);
  static File modify(const Path& path);  // for reading and writing; as it is, which must be there
  File(File&& other) noexcept;
  File& operator=(File&& other) noexcept;
  ~File();  // closes without sync; errors are lost: call close() where they matter

  void read_at(std::span<std::byte> out,
               std::uint64_t offset) const;  // all of it, or an error (truncated file)
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

 private:
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

std::string read_file(const Path& path);

// The whole file appears under `path`, or nothing changes: written to a name beside it, synced,
// renamed (base/new_file.h). Links are followed. A device or a pipe is written to
// (base/output_place.h).
void write_file(const Path& path, std::string_view contents);

void rename_file(const Path& from, const Path& to);  // and syncs the folder of `to`
void sync_directory(const Path& directory);
void make_directories(const Path& directory);  // links followed, where they end nowhere too
void remove_tree(
    const Path& path);  // a file or a directory with all that is in it; nothing there: done
std::string host_name();
// A name beside `path` that no other process uses and nobody can foresee, hidden: ".NAME.tmp-…".
// To be made with File::create, which takes nothing that is there already.
std::string temporary_name(const Path& path);

// Faults, for tests: called before each operation with its name ("create", "write", "sync",
// "rename", "truncate", "remove") and path; what it returns other than 0 is the errno that the
// operation then fails with. A "write" that gets EIO after having written half of its bytes is
// asked for with kShortWrite. Set before any thread starts.
constexpr int kShortWrite = -1;
using FaultHook = std::function<int(std::string_view operation, const Path& path)>;
void set_fault_hook(FaultHook hook);

}  // namespace eyrie::base
