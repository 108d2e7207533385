// Links are followed one at a time, because a path may end in one of this process's descriptors,
// whose file position would be lost by opening it again.
#include "base/output_place.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <optional>
#include <system_error>

#include <fmt/format.h>

#include "base/error.h"

namespace eyrie::base {
namespace {

constexpr int kMostLinks = 40;  // as in the kernel

std::string reason(int error) { return std::generic_category().message(error); }

Path folder_of(const Path& path) {
  const Path parent = path.parent_path();
  return parent.empty() ? Path(".") : parent;
}

std::optional<int> number_in(const std::string& name) {
  int number = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  if (error != std::errc() || end != name.data() + name.size() || number < 0) return std::nullopt;
  return number;
}

// "/proc/123/fd" or "/proc/123/task/123/fd": the entries are links that only the kernel can follow.
bool is_descriptor_folder(const Path& folder) {
  const std::string text = folder.string();
  return text.starts_with("/proc/") && text.ends_with("/fd");
}

bool is_own_descriptor_folder(const Path& folder) {
  return folder.string().starts_with(fmt::format("/proc/{}/", ::getpid()));
}

OutputPlace stream(const Path& path, int descriptor, const char* what) {
  OutputPlace place;
  place.kind = OutputPlace::Kind::kStream;
  place.path = path;
  place.descriptor = descriptor;
  place.what = what;
  return place;
}

// Classifies what is at the end of the links.
OutputPlace place_of(const Path& path, const struct stat& status) {
  switch (status.st_mode & S_IFMT) {
    case S_IFREG: {
      OutputPlace place;
      place.path = path;
      place.permissions = status.st_mode & 07777;
      return place;
    }
    case S_IFDIR:
      throw InputError(
          fmt::format("{}: a directory is there where a file was to be written", path.string()));
    case S_IFSOCK:
      throw InputError(fmt::format(
          "{}: a socket is there, which takes no files; name a file or a pipe", path.string()));
    case S_IFIFO:
      return stream(path, -1, "pipe");
    default:
      return stream(path, -1, "device");
  }
}

void refuse_foreign_link(const Path& link, const struct stat& status) {
  struct stat folder {};
  if (::stat(folder_of(link).c_str(), &folder) != 0) return;
  const bool shared = (folder.st_mode & S_ISVTX) != 0 && (folder.st_mode & S_IWOTH) != 0;
  if (!shared || status.st_uid == ::geteuid() || status.st_uid == folder.st_uid) return;
  throw InputError(fmt::format(
      "{}: a link of another user's in a folder where everybody may write; it is not followed",
      link.string()));
}

[[noreturn]] void refuse(const std::string& what, const Path& path, const std::string& why) {
  throw InputError(fmt::format("{}: {} cannot be written: {}", what, path.string(), why));
}

// InputError if the user can fix it, Error if the system fails.
[[noreturn]] void refuse_or_fail(const std::string& what, const Path& path,
                                 const std::string& doing, int error) {
  const std::string why = fmt::format("{}: {}", doing, reason(error));
  if (error == EACCES || error == EPERM || error == EROFS || error == ENAMETOOLONG ||
      error == ENOENT || error == ENOTDIR)
    refuse(what, path, why);
  throw Error(fmt::format("{}: {} cannot be written: {}", what, path.string(), why));
}

// Checks that a file can be created beside `path`; it is removed again.
void try_beside(const std::string& what, const Path& path, const Path& shown) {
  const Path folder = folder_of(path);
  struct stat status {};
  if (::stat(folder.c_str(), &status) != 0) {
    if (errno == ENOENT) refuse(what, shown, "there is no folder " + folder.string());
    refuse_or_fail(what, shown, folder.string(), errno);
  }
  if (!S_ISDIR(status.st_mode)) refuse(what, shown, folder.string() + " is not a folder");
  if (path.filename().string().size() > NAME_MAX) refuse(what, shown, reason(ENAMETOOLONG));
  const Path temporary = temporary_name(path);
  const int descriptor =
      ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  const int error = errno;
  if (descriptor >= 0) {
    ::close(descriptor);
    ::unlink(temporary.c_str());
    return;
  }
  refuse_or_fail(what, shown, "making a file in " + folder.string(), error);
}

}  // namespace

OutputPlace find_output_place(const Path& path) {
  if (path.filename().empty())
    throw InputError(fmt::format("'{}' is not the path of a file", path.string()));
  Path at = path;
  for (int links = 0; links < kMostLinks; ++links) {
    std::error_code none;
    const Path folder = std::filesystem::canonical(folder_of(at), none);
    if (!none && is_descriptor_folder(folder)) {
      const std::optional<int> number = number_in(at.filename().string());
      const bool own = number && is_own_descriptor_folder(folder);
      return stream(path, own ? *number : -1, "stream");
    }
    struct stat status {};
    if (::lstat(at.c_str(), &status) != 0) {
      OutputPlace nothing;  // or it cannot be seen: writing will say why
      nothing.path = at;
      return nothing;
    }
    if (!S_ISLNK(status.st_mode)) return place_of(at, status);
    refuse_foreign_link(at, status);
    std::error_code error;
    const Path target = std::filesystem::read_symlink(at, error);
    if (error) throw Error(fmt::format("following {}: {}", at.string(), error.message()));
    at = target.is_absolute() ? target : at.parent_path() / target;
    if (at.filename().empty()) at = at.parent_path();  // "folder/"
  }
  throw Error(fmt::format("{}: {}", path.string(), reason(ELOOP)));
}

void check_output_file(const std::string& what, const Path& path, Order order) {
  const OutputPlace place = [&] {
    try {
      return find_output_place(path);
    } catch (const InputError& error) {
      throw InputError(fmt::format("{}: {}", what, error.what()));
    }
  }();
  if (place.kind == OutputPlace::Kind::kFile) return try_beside(what, place.path, path);
  if (order == Order::kAny)
    refuse(what, path,
           fmt::format("it is a {}, and the file is not written front to back; name a file",
                       place.what));
  if (place.descriptor >= 0) {
    const int flags = ::fcntl(place.descriptor, F_GETFL);
    if (flags == -1 || (flags & O_ACCMODE) == O_RDONLY) refuse(what, path, reason(EBADF));
  } else if (::faccessat(AT_FDCWD, place.path.c_str(), W_OK, AT_EACCESS) != 0) {
    refuse(what, path, reason(errno));
  }
}

void check_output_folder(const std::string& what, const Path& folder, bool make) {
  if (make) make_directories(folder);
  Path there = folder.is_absolute() ? Path("/") : Path(".");  // the deepest folder that exists
  bool deeper = true;
  for (const Path& part : folder) {
    if (part.string().size() > NAME_MAX) refuse(what, folder, reason(ENAMETOOLONG));
    if (!deeper) continue;
    const Path next = there / part;
    struct stat status {};
    deeper = ::stat(next.c_str(), &status) == 0;
    if (!deeper && errno != ENOENT) refuse_or_fail(what, folder, next.string(), errno);
    if (deeper && !S_ISDIR(status.st_mode))
      refuse(what, folder, next.string() + " is a file, not a folder");
    if (deeper) there = next;
  }
  try_beside(what, there / "x", folder);
}

}  // namespace eyrie::base
