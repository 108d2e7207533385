// The version in the code is the project's.
#include "base/version.h"

#include <gtest/gtest.h>

#include "base/file.h"

namespace eyrie::base {
namespace {

TEST(Version, IsTheProjects) {
  const std::string cmake = read_file(EYRIE_SOURCE_DIR "/CMakeLists.txt");
  EXPECT_NE(cmake.find(std::string("project(eyrie VERSION ") + kVersion + " "), std::string::npos);
}

}  // namespace
}  // namespace eyrie::base
