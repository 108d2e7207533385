// Looks at the disk with stat and readdir; every error but "not there" is thrown.
#include "base/listing.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <optional>
#include <string>
#include <system_error>

#include <fmt/format.h>

#include "base/error.h"

namespace eyrie::base {
namespace {

[[noreturn]] void fail(const char* doing, const Path& path, int error) {
  if (error == ENAMETOOLONG)
    throw InputError(fmt::format("{}: the name is too long for this file system", path.string()));
  throw Error(
      fmt::format("{} {} failed: {}; nothing was concluded from it: start again once it "
                  "can be read",
                  doing, path.string(), std::generic_category().message(error)));
}

bool says_nothing_there(int error) { return error == ENOENT || error == ENOTDIR; }

// A link whose target is missing (an unmounted file system) is not an empty place.
void refuse_dangling(const Path& path) {
  struct stat link {};
  if (::lstat(path.c_str(), &link) != 0) {
    if (!says_nothing_there(errno)) fail("looking at", path, errno);
    return;
  }
  // Created since the first look: the same as if it was created just after it.
  if (!S_ISLNK(link.st_mode)) return;
  char target[4096] = "";
  const ssize_t length = ::readlink(path.c_str(), target, sizeof target - 1);
  throw Error(fmt::format("{} is a link to {}, where nothing is: is its file system mounted?",
                          path.string(),
                          std::string(target, length > 0 ? static_cast<std::size_t>(length) : 0)));
}

std::optional<struct stat> look_at(const Path& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0) return status;
  const int error = errno;
  if (!says_nothing_there(error)) fail("looking at", path, error);
  refuse_dangling(path);
  return std::nullopt;
}

}  // namespace

bool is_there(const Path& path) { return look_at(path).has_value(); }

bool is_folder(const Path& path) {
  const auto status = look_at(path);
  return status && S_ISDIR(status->st_mode);
}

bool is_regular_file(const Path& path) {
  const auto status = look_at(path);
  return status && S_ISREG(status->st_mode);
}

std::uint64_t bytes_of_file(const Path& path) {
  const auto status = look_at(path);
  if (!status) throw InputError(fmt::format("cannot read {}: it is not there", path.string()));
  return static_cast<std::uint64_t>(status->st_size);
}

std::vector<Path> list_folder(const Path& folder) {
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(folder.c_str()), ::closedir);
  if (!directory) {
    const int error = errno;
    if (error != ENOENT) fail("listing", folder, error);
    refuse_dangling(folder);
    return {};
  }
  std::vector<Path> entries;
  while (true) {
    errno = 0;
    const dirent* entry = ::readdir(directory.get());
    if (entry == nullptr) {
      if (errno != 0) fail("listing", folder, errno);
      break;
    }
    const std::string name = entry->d_name;
    if (name != "." && name != "..") entries.push_back(folder / name);
  }
  std::sort(entries.begin(), entries.end());
  return entries;
}

void check_readable(const Path& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) {
    if (!says_nothing_there(errno)) fail("opening", path, errno);
    return;
  }
  ::close(descriptor);
}

}  // namespace eyrie::base
