// File patterns, implemented with glob(3).
#include "data_pipeline/file_patterns.h"

#include <fmt/format.h>
#include <glob.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "base/error.h"
#include "base/file_kind.h"

namespace eyrie::data_pipeline {
namespace {

namespace fs = std::filesystem;

bool is_there(const std::string& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

// Returns the length of the longest leading part of the pattern, up to and including a '/', that is
// an existing folder of exactly this name.
std::size_t literal_folder(const std::string& pattern) {
  std::error_code ignored;
  for (std::size_t at = pattern.rfind('/'); at != pattern.npos && at > 0;
       at = pattern.rfind('/', at - 1))
    if (fs::is_directory(pattern.substr(0, at), ignored)) return at + 1;
  return pattern.starts_with('/') ? 1 : 0;
}

// Returns a glob pattern that matches exactly this name.
std::string escaped(const std::string& name) {
  std::string result;
  for (const char c : name) {
    if (std::string_view("*?[]\\").find(c) != std::string_view::npos) result += '\\';
    result += c;
  }
  return result;
}

// Returns where the group that begins at `open` ends, and appends the positions of its own bars,
// without those of inner groups. Returns npos if it does not end.
std::size_t group_end(const std::string& pattern, std::size_t open,
                      std::vector<std::size_t>& bars) {
  int depth = 0;
  for (std::size_t i = open; i < pattern.size(); ++i) {
    if (pattern[i] == '\\') {
      ++i;
    } else if (pattern[i] == '(') {
      ++depth;
    } else if (pattern[i] == '|' && depth == 1) {
      bars.push_back(i);
    } else if (pattern[i] == ')' && --depth == 0) {
      return i;
    }
  }
  return std::string::npos;
}

// "a(.gz|.zst)" → "a", "a.gz", "a.zst".
std::vector<std::string> alternatives(const std::string& pattern) {
  std::size_t open = 0;
  while (open < pattern.size() && pattern[open] != '(') open += pattern[open] == '\\' ? 2 : 1;
  std::vector<std::size_t> bars;
  const std::size_t close =
      open < pattern.size() ? group_end(pattern, open, bars) : std::string::npos;
  if (close == std::string::npos) return {pattern};
  bars.push_back(close);
  std::vector<std::string> result;
  for (const std::string& rest : alternatives(pattern.substr(close + 1))) {
    result.push_back(pattern.substr(0, open) + rest);
    std::size_t begin = open + 1;
    for (const std::size_t bar : bars) {
      for (const std::string& one : alternatives(pattern.substr(begin, bar - begin)))
        result.push_back(pattern.substr(0, open) + one + rest);
      begin = bar + 1;
    }
  }
  return result;
}

int folder_error(const char* path, int error) {
  if (error == ENOENT || error == ENOTDIR) return 0;
  throw base::InputError(
      fmt::format("cannot read the folder {}: {}", path, std::generic_category().message(error)));
}

std::vector<std::string> glob_all(const std::string& pattern) {
  struct Found : glob_t {
    Found() : glob_t{} {}
    ~Found() { globfree(this); }
  } found;
  const int status = glob(pattern.c_str(), GLOB_NOSORT, folder_error, &found);
  if (status == GLOB_NOSPACE) throw std::bad_alloc();
  return {found.gl_pathv, found.gl_pathv + (status == 0 ? found.gl_pathc : 0)};
}

}  // namespace

std::vector<base::Path> matching_files(const std::string& pattern) {
  std::vector<base::Path> files;
  if (is_there(pattern)) {
    base::check_regular_file(pattern);
    return {pattern};
  }
  const std::size_t folder = literal_folder(pattern);
  std::string only_folder;
  for (const std::string& rest : alternatives(pattern.substr(folder))) {
    const std::string literal = pattern.substr(0, folder) + rest;
    const std::vector<std::string> found =
        is_there(literal) ? std::vector{literal}
                          : glob_all(escaped(pattern.substr(0, folder)) + rest);
    for (const std::string& one : found) {
      std::error_code ignored;
      if (fs::is_directory(one, ignored)) {
        only_folder = one;
        continue;
      }
      base::check_regular_file(one);
      files.emplace_back(one);
    }
  }
  if (files.empty() && !only_folder.empty()) base::check_regular_file(only_folder);
  if (files.empty()) {
    const bool braces = pattern.find('{') != pattern.npos;
    throw base::InputError(
        fmt::format("no file matches {}{}", pattern,
                    braces ? "; alternatives are written (a|b), not {a,b}" : ""));
  }
  std::sort(files.begin(), files.end());
  files.erase(std::unique(files.begin(), files.end()), files.end());
  return files;
}

}  // namespace eyrie::data_pipeline
