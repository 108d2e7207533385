// Looks above the executable.
#include "base/resource.h"

#include <filesystem>
#include <system_error>
#include <vector>

#include "base/listing.h"

namespace eyrie::base {

Path find_resource(const std::string& in_tree, const std::string& installed,
                   const std::string& file) {
  const std::string beside = "share/eyrie/" + installed;
  const auto is_it = [&](const Path& folder) {
    return is_folder(folder) && (file.empty() || base::is_regular_file(folder / file));
  };
  if (is_it(in_tree)) return in_tree;
  if (is_it(beside)) return beside;
  std::error_code ignored;
  for (Path at = std::filesystem::read_symlink("/proc/self/exe", ignored);
       at.has_relative_path();) {
    at = at.parent_path();
    if (is_it(at / in_tree)) return at / in_tree;
    if (is_it(at / beside)) return at / beside;
  }
  return {};
}

}  // namespace eyrie::base
