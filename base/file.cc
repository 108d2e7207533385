// Files over POSIX calls. Every operation that changes the disk asks the fault hook first.
#include "base/file.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstring>
#include <system_error>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/error.h"
#include "base/new_file.h"
#include "base/output.h"
#include "base/output_place.h"

namespace eyrie::base {
namespace {

FaultHook& fault_hook() {
  static FaultHook hook;
  return hook;
}

std::string reason(int error) { return std::generic_category().message(error); }

[[noreturn]] void fail(std::string_view doing, const Path& path, int error,
                       std::uint64_t bytes = 0) {
  if (error == ENOSPC || error == EDQUOT) {
    throw Error(fmt::format(
        "no space left: {} {} failed{}; free some space on that file system{} and run again", doing,
        path.string(), bytes > 0 ? fmt::format(" ({} bytes were to be written)", bytes) : "",
        error == EDQUOT ? " (the quota is used up)" : ""));
  }
  throw Error(fmt::format("{} {} failed: {}", doing, path.string(), reason(error)));
}

// Asks the hook and throws the fault that it orders. Returns whether the write is to be cut short.
bool ask_for_fault(std::string_view operation, std::string_view doing, const Path& path,
                   std::uint64_t bytes = 0) {
  if (!fault_hook()) return false;
  const int error = fault_hook()(operation, path);
  if (error == 0) return false;
  if (error == kShortWrite && operation == "write") return true;
  fail(doing, path, error == kShortWrite ? EIO : error, bytes);
}

Path folder_of(const Path& path) {
  const Path parent = path.parent_path();
  return parent.empty() ? Path(".") : parent;
}

// Calls pwrite until all is written. Returns an errno, or 0.
int write_all(int descriptor, std::span<const std::byte> bytes, std::uint64_t offset) {
  while (!bytes.empty()) {
    const ssize_t count =
        ::pwrite(descriptor, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return errno;
    if (count == 0) return EIO;
    bytes = bytes.subspan(static_cast<std::size_t>(count));
    offset += static_cast<std::uint64_t>(count);
  }
  return 0;
}

// Writes front to back. One of this process's own descriptors continues at its current position.
void write_stream(const OutputPlace& place, std::string_view contents) {
  ask_for_fault("write", "writing", place.path, contents.size());
  std::fflush(stdout);  // earlier printed output comes first
  const int descriptor = place.descriptor >= 0 ? ::fcntl(place.descriptor, F_DUPFD_CLOEXEC, 3)
                                               : ::open(place.path.c_str(),
                                                        O_WRONLY | O_APPEND | O_CLOEXEC | O_NOCTTY);
  if (descriptor < 0) fail("opening", place.path, errno);
  int error = 0;
  for (std::string_view left = contents; !left.empty() && error == 0;) {
    const ssize_t count = ::write(descriptor, left.data(), left.size());
    if (count >= 0) {
      left.remove_prefix(static_cast<std::size_t>(count));
    } else if (errno == EAGAIN) {  // non-blocking: another process made it so
      pollfd ready{descriptor, POLLOUT, 0};
      ::poll(&ready, 1, -1);
    } else if (errno != EINTR) {
      error = errno;
    }
  }
  if (::close(descriptor) != 0 && errno != EINTR && error == 0) error = errno;
  if (error == EPIPE && place.descriptor == STDOUT_FILENO) end_without_reader();
  if (error != 0) fail("writing", place.path, error, contents.size());
}

}  // namespace

File File::open(const Path& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const int error = errno;
  if (descriptor < 0) {
    const std::string message = fmt::format("cannot read {}: {}", path.string(), reason(error));
    if (error == ENOENT || error == ENOTDIR || error == EACCES) throw InputError(message);
    throw Error(message);
  }
  File file(path, descriptor);
  struct stat status {};
  if (::fstat(descriptor, &status) == 0 && S_ISDIR(status.st_mode)) {
    throw InputError(
        fmt::format("cannot read {}: it is a directory where a file is expected", path.string()));
  }
  return file;
}

File File::modify(const Path& path) {
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (descriptor < 0) fail("opening", path, errno);
  return File(path, descriptor);
}

File File::create(const Path& path, unsigned permissions) {
  ask_for_fault("create", "creating", path);
  const int descriptor =
      ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, permissions);
  if (descriptor < 0) fail("creating", path, errno);
  return File(path, descriptor);
}

File::File(File&& other) noexcept
    : path_(std::move(other.path_)), descriptor_(std::exchange(other.descriptor_, -1)) {}

File& File::operator=(File&& other) noexcept {
  if (this != &other) {
    if (descriptor_ >= 0) ::close(descriptor_);
    path_ = std::move(other.path_);
    descriptor_ = std::exchange(other.descriptor_, -1);
  }
  return *this;
}

File::~File() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void File::read_at(std::span<std::byte> out, std::uint64_t offset) const {
  const std::uint64_t end = offset + out.size();
  while (!out.empty()) {
    const ssize_t count = ::pread(descriptor_, out.data(), out.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail("reading", path_, errno);
    if (count == 0) {
      throw InputError(fmt::format("{} is truncated: it ends at byte {}, byte {} was expected",
                                   path_.string(), size(), end));
    }
    out = out.subspan(static_cast<std::size_t>(count));
    offset += static_cast<std::uint64_t>(count);
  }
}

void File::write_at(std::span<const std::byte> bytes, std::uint64_t offset) {
  if (ask_for_fault("write", "writing", path_, bytes.size())) {
    write_all(descriptor_, bytes.first(bytes.size() / 2), offset);
    fail("writing", path_, EIO, bytes.size());
  }
  const int error = write_all(descriptor_, bytes, offset);
  if (error != 0) fail("writing", path_, error, bytes.size());
}

void File::truncate(std::uint64_t size) {
  ask_for_fault("truncate", "resizing", path_, size);
  while (::ftruncate(descriptor_, static_cast<off_t>(size)) != 0) {
    if (errno != EINTR) fail("resizing", path_, errno, size);
  }
}

void File::sync() {
  ask_for_fault("sync", "syncing", path_);
  // Not retried after a failure: the kernel may have dropped the pages and would then report
  // success.
  if (::fsync(descriptor_) != 0) fail("syncing", path_, errno);
}

void File::close() {
  const int descriptor = std::exchange(descriptor_, -1);
  if (descriptor >= 0 && ::close(descriptor) != 0 && errno != EINTR) fail("closing", path_, errno);
}

std::uint64_t File::size() const {
  struct stat status {};
  if (::fstat(descriptor_, &status) != 0) fail("asking for the size of", path_, errno);
  return static_cast<std::uint64_t>(status.st_size);
}

MappedFile::MappedFile(const Path& path) {
  const File file = File::open(path);
  size_ = file.size();
  if (size_ == 0) return;  // mmap refuses empty files
  void* address = ::mmap(nullptr, size_, PROT_READ, MAP_SHARED, file.descriptor(), 0);
  if (address == MAP_FAILED) fail("mapping", path, errno);
  data_ = static_cast<const std::byte*>(address);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

void MappedFile::release(std::size_t first, std::size_t count) const {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const std::size_t begin = (first + page - 1) / page * page, end = (first + count) / page * page;
  if (begin < end) ::madvise(const_cast<std::byte*>(data_) + begin, end - begin, MADV_DONTNEED);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

std::string read_file(const Path& path) {
  const File file = File::open(path);
  std::string contents;
  // Reads to the end instead of by size, because pipes and /proc have no size.
  char buffer[1 << 16];
  while (true) {
    const ssize_t count = ::read(file.descriptor(), buffer, sizeof buffer);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail("reading", path, errno);
    if (count == 0) return contents;
    contents.append(buffer, static_cast<std::size_t>(count));
  }
}

void write_file(const Path& path, std::string_view contents) {
  const OutputPlace place = find_output_place(path);
  if (place.kind == OutputPlace::Kind::kStream) return write_stream(place, contents);
  NewFile file(path);
  file.file().write_at(std::as_bytes(std::span(contents)), 0);
  file.commit();
}

void rename_file(const Path& from, const Path& to) {
  const std::string doing = fmt::format("renaming {} to", from.string());
  ask_for_fault("rename", doing, to);
  if (::rename(from.c_str(), to.c_str()) != 0) fail(doing, to, errno);
  sync_directory(folder_of(to));
}

void link_file(const Path& from, const Path& to) {
  const std::string doing = fmt::format("linking {} to", from.string());
  ask_for_fault("link", doing, to);
  if (::link(from.c_str(), to.c_str()) == 0) return;
  if (errno != EXDEV && errno != EPERM && errno != EMLINK && errno != ENOTSUP)
    fail(doing, to, errno);
  const File source = File::open(from);
  File copy = File::create(to);
  std::vector<std::byte> bytes(std::size_t{4} << 20);
  for (std::uint64_t at = 0; at < source.size(); at += bytes.size()) {
    const auto part =
        std::span(bytes).first(std::min<std::uint64_t>(bytes.size(), source.size() - at));
    source.read_at(part, at);
    copy.write_at(part, at);
  }
  copy.sync();
  copy.close();
}

void sync_directory(const Path& directory) {
  ask_for_fault("sync", "syncing the directory", directory);
  const int descriptor = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) fail("opening the directory", directory, errno);
  // EINVAL: the file system cannot sync directories, so there is nothing better to do.
  const int error = ::fsync(descriptor) == 0 || errno == EINVAL ? 0 : errno;
  ::close(descriptor);
  if (error != 0) fail("syncing the directory", directory, error);
}

namespace {

void make_directories(const Path& directory, int links) {
  if (directory.empty()) return;
  struct stat status {};
  if (::stat(directory.c_str(), &status) == 0) {
    if (S_ISDIR(status.st_mode)) return;
    throw Error(fmt::format("creating the directory {} failed: a file of that name is in the way",
                            directory.string()));
  }
  if (directory.has_relative_path() && directory.parent_path() != directory) {
    make_directories(directory.parent_path(), links);
  }
  ask_for_fault("create", "creating the directory", directory);
  // Another rank may create it at the same time, which is just as good.
  if (::mkdir(directory.c_str(), 0777) != 0) {
    if (errno != EEXIST) fail("creating the directory", directory, errno);
    std::error_code error;
    if (!std::filesystem::is_directory(directory, error)) {  // a dangling symbolic link
      const Path target = std::filesystem::read_symlink(directory, error);
      if (error || links == 0)
        fail("creating the directory", directory, links == 0 ? ELOOP : EEXIST);
      return make_directories(directory.parent_path() / target, links - 1);
    }
  }
  sync_directory(folder_of(directory));
}

}  // namespace

void make_directories(const Path& directory) { make_directories(directory, 40); }

void remove_tree(const Path& path) {
  ask_for_fault("remove", "removing", path);
  std::error_code error;
  std::filesystem::remove_all(path, error);
  if (error) fail("removing", path, error.value());
}

std::string host_name() {
  char host[256] = "host";
  ::gethostname(host, sizeof host - 1);
  return host;
}

std::string temporary_name(const Path& path) {
  std::uint64_t random = 0;
  while (::getrandom(&random, sizeof random, 0) != sizeof random) {
    if (errno != EINTR) fail("asking for random numbers for", path, errno);
  }
  // Hidden, so that no reader's glob pattern takes it for a complete file.
  const std::string tail = fmt::format(".tmp-{}-{}-{:016x}", host_name(), ::getpid(), random);
  std::string name = path.filename().string();
  if (name.size() + tail.size() + 1 > NAME_MAX) name.resize(NAME_MAX - 1 - tail.size());
  return (path.parent_path() / ("." + name + tail)).string();
}

void set_fault_hook(FaultHook hook) { fault_hook() = std::move(hook); }

}  // namespace eyrie::base
