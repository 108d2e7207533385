// The file is created beside its path, synced and renamed.
#include "base/new_file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "base/output_place.h"

namespace eyrie::base {

// The place of a regular file, or of one that does not exist yet.
struct NewFile::Place {
  explicit Place(const Path& path) {
    const OutputPlace found = find_output_place(path);
    if (found.kind != OutputPlace::Kind::kFile)
      throw InputError(
          fmt::format("{} is a {}: what is written there is not written front to back; name a file",
                      path.string(), found.what));
    target = found.path;
    temporary = temporary_name(target);
    permissions = found.permissions;
  }
  Path target, temporary;
  unsigned permissions = 0;  // 0: a new file's default
};

NewFile::NewFile(const Path& path) : NewFile(Place(path)) {}

NewFile::NewFile(const Place& place)
    : path_(place.target),
      temporary_(place.temporary),
      file_(
          File::create(place.temporary, place.permissions == 0 ? 0666 : place.permissions & 0666)) {
  // Restores the permissions that the umask removed, and keeps the file writable so that it can be
  // replaced again. Best effort: some file systems have no permissions.
  if (place.permissions != 0)
    (void)!::fchmod(file_.descriptor(), (place.permissions & 0777) | S_IRUSR | S_IWUSR);
}

NewFile::NewFile(NewFile&& other) noexcept
    : path_(std::move(other.path_)),
      temporary_(std::exchange(other.temporary_, Path())),
      file_(std::move(other.file_)) {}

NewFile::~NewFile() {
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void NewFile::commit(Sync sync) {
  if (sync == Sync::kYes) file_.sync();
  file_.close();
  if (sync == Sync::kYes) {
    rename_file(temporary_, path_);
  } else if (::rename(temporary_.c_str(), path_.c_str()) != 0) {
    throw Error(fmt::format("renaming {} to {} failed: {}", temporary_.string(), path_.string(),
                            std::generic_category().message(errno)));
  }
  temporary_.clear();
}

}  // namespace eyrie::base
