// The version of Eyrie, the same as in CMakeLists.txt (a test compares the two).
#pragma once

namespace eyrie::base {

constexpr const char* kVersion = "0.1.0";

}  // namespace eyrie::base
