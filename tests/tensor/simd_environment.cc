// Runs the whole test program on a lesser instruction set than the processor's best:
// EYRIE_SIMD=avx2 or ssse3. For oneDNN's products set ONEDNN_MAX_CPU_ISA beside it.
#include <gtest/gtest.h>
#include <hwy/targets.h>

#include <cstdlib>
#include <string>

namespace eyrie::test {
namespace {

class SimdEnvironment : public testing::Environment {
 public:
  void SetUp() override {
    const char* wanted = std::getenv("EYRIE_SIMD");
    if (wanted == nullptr || *wanted == '\0') return;
    const std::string name = wanted;
    ASSERT_TRUE(name == "avx2" || name == "ssse3") << "EYRIE_SIMD=" << name;
    const std::int64_t target = name == "avx2" ? HWY_AVX2 : HWY_SSSE3;
    ASSERT_NE(hwy::SupportedTargets() & target, 0) << "this processor has no " << name;
    hwy::DisableTargets(target - 1);  // better targets have lower numbers
    const std::int64_t left = hwy::SupportedTargets();
    ASSERT_EQ(left & -left, target);
  }
};

const auto* const kEnvironment = testing::AddGlobalTestEnvironment(new SimdEnvironment);

}  // namespace
}  // namespace eyrie::test
