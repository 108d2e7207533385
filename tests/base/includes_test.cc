// The order of the house: a folder includes only from floors below it, no header brings in a
// library that is to stay behind one, and every file begins by saying what it is.
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "base/file.h"

namespace eyrie::base {
namespace {

// Floors on one line do not see each other.
const std::map<std::string, std::set<std::string>> kBelow = [] {
  const std::vector<std::vector<std::string>> floors = {{"base"},
                                                        {"tensor", "slurm"},
                                                        {"parallel", "text"},
                                                        {"model", "data_pipeline"},
                                                        {"generation", "checkpoint"},
                                                        {"eval", "trainer"},
                                                        {"planning"},
                                                        {"cli"}};
  std::map<std::string, std::set<std::string>> below;
  std::set<std::string> so_far;
  for (const auto& floor : floors) {
    for (const std::string& folder : floor) {
      below[folder] = so_far;
      below[folder].insert(folder);
    }
    so_far.insert(floor.begin(), floor.end());
  }
  return below;
}();

struct Source {
  std::string path;  // relative to the repository
  std::string folder;
  bool header;
  std::string text;
  std::vector<std::string> includes;  // what stands between the quotes or brackets
};

std::vector<std::string> includes_of(const std::string& text) {
  std::vector<std::string> names;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::size_t at = line.find_first_not_of(" \t");
    if (at == std::string::npos || line[at] != '#') continue;
    at = line.find_first_not_of(" \t", at + 1);
    if (at == std::string::npos || line.compare(at, 7, "include") != 0) continue;
    const std::size_t begin = line.find_first_of("\"<", at);
    if (begin == std::string::npos) continue;
    const std::size_t end = line.find_first_of("\">", begin + 1);
    names.push_back(line.substr(begin + 1, end - begin - 1));
  }
  return names;
}

const std::vector<Source>& sources() {
  static const std::vector<Source> all = [] {
    std::vector<Source> found;
    const Path root = EYRIE_SOURCE_DIR;
    for (const auto& [folder, below] : kBelow) {
      if (!std::filesystem::exists(root / folder)) continue;
      for (const auto& entry : std::filesystem::recursive_directory_iterator(root / folder)) {
        const std::string extension = entry.path().extension();
        if (extension != ".h" && extension != ".cc" && extension != ".cu" && extension != ".cuh")
          continue;
        const std::string text = read_file(entry.path());
        found.push_back({std::filesystem::relative(entry.path(), root), folder,
                         extension == ".h" || extension == ".cuh", text, includes_of(text)});
      }
    }
    return found;
  }();
  return all;
}

TEST(Includes, TheWalkFindsTheHouse) {
  std::set<std::string> folders;
  for (const Source& source : sources()) folders.insert(source.folder);
  EXPECT_TRUE(folders.contains("base"));
  EXPECT_TRUE(folders.contains("text"));
  EXPECT_GT(sources().size(), 12u);
  EXPECT_EQ(includes_of("#include <a>\n  # include \"b/c.h\"\n// #include <d>\n#pragma once\n"),
            (std::vector<std::string>{"a", "b/c.h"}));
}

TEST(Includes, OnlyFloorsBelow) {
  for (const Source& source : sources()) {
    for (const std::string& name : source.includes) {
      const std::size_t slash = name.find('/');
      if (slash == std::string::npos || !kBelow.contains(name.substr(0, slash))) continue;
      EXPECT_TRUE(kBelow.at(source.folder).contains(name.substr(0, slash)))
          << source.path << " includes " << name << ", which is not on a floor below";
    }
  }
}

// Communication knows nothing of sharding and of health, and these two do not know each other.
TEST(Includes, RoomsOfParallel) {
  const std::string communication = "parallel/communication/";
  for (const Source& source : sources()) {
    if (source.folder != "parallel") continue;
    const std::string room = source.path.substr(0, source.path.rfind('/') + 1);
    for (const std::string& name : source.includes) {
      if (!name.starts_with("parallel/")) continue;
      EXPECT_TRUE(name.starts_with(room) || name.starts_with(communication))
          << source.path << " includes " << name;
    }
  }
}

// The implementation over MPI has headers of its own, which nothing else includes.
bool is_over_mpi(const std::string& path) {
  return path.starts_with("parallel/communication/mpi_");
}

TEST(Includes, MpiStaysInItsFiles) {
  int files = 0;
  for (const Source& source : sources()) {
    files += is_over_mpi(source.path);
    if (is_over_mpi(source.path)) continue;
    for (const std::string& name : source.includes) {
      EXPECT_FALSE(name == "mpi.h" || is_over_mpi(name)) << source.path << " includes " << name;
    }
  }
  EXPECT_GT(files, 0);
}

TEST(Includes, HeadersKeepLibrariesOut) {
  for (const Source& source : sources()) {
    if (!source.header) continue;
    for (const std::string& name : source.includes) {
      if (name == "mpi.h" && is_over_mpi(source.path)) continue;
      for (const char* library :
           {"spdlog/", "CLI/", "CLI11", "nlohmann/", "yaml-cpp/", "hdf5", "H5", "mpi.h"}) {
        EXPECT_FALSE(name.starts_with(library)) << source.path << " includes " << name;
      }
    }
  }
}

TEST(Includes, EveryFileSaysWhatItIs) {
  for (const Source& source : sources()) {
    EXPECT_TRUE(source.text.starts_with("// ") || source.text.starts_with("/*"))
        << source.path << " does not begin with a comment";
  }
}

TEST(Includes, HeadersAreIncludedOnce) {
  for (const Source& source : sources()) {
    // A file of kernels or tables that is included on purpose more than once says so by its name.
    if (!source.header || source.path.find("-inl.h") != std::string::npos) continue;
    EXPECT_NE(source.text.find("#pragma once"), std::string::npos) << source.path;
  }
}

}  // namespace
}  // namespace eyrie::base
