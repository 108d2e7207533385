// Sums in fixed orders.
#include <vector>

#include "tensor/cpu/kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/sums.cc"
#include <hwy/foreach_target.h>
// After foreach_target, which includes this file once per target.
#include "tensor/cpu/simd-inl.h"
#include "tensor/threads.h"

HWY_BEFORE_NAMESPACE();
namespace eyrie::tensor::cpu {
namespace HWY_NAMESPACE {
namespace {

// Eight interleaved sums, in as many vectors as the target needs. A product of two fp32 numbers is
// exact in fp64.
double squares_of(const float* values, std::int64_t count) {
  constexpr std::int64_t kSums = 8;
  const hn::CappedTag<double, kSums> doubles;
  const hn::Rebind<float, decltype(doubles)> floats;
  const auto width = static_cast<std::int64_t>(hn::Lanes(doubles));
  using Sums = hn::Vec<decltype(doubles)>;
  Sums sums[kSums];
  for (Sums& sum : sums) sum = hn::Zero(doubles);
  std::int64_t i = 0;
  for (; i + kSums <= count; i += kSums) {
    for (std::int64_t j = 0; j < kSums / width; ++j) {
      const Sums x = hn::PromoteTo(doubles, hn::LoadU(floats, values + i + j * width));
      sums[j] = hn::MulAdd(x, x, sums[j]);
    }
  }
  HWY_ALIGN double all[kSums];
  for (std::int64_t j = 0; j < kSums / width; ++j) hn::StoreU(sums[j], doubles, all + j * width);
  for (std::int64_t j = 0; i < count; ++i, ++j)
    all[j] += static_cast<double>(values[i]) * static_cast<double>(values[i]);
  return ((all[0] + all[1]) + (all[2] + all[3])) + ((all[4] + all[5]) + (all[6] + all[7]));
}

void SumsOfSquares(std::span<const Tensor> rows, std::span<double> sums) {
  parallel_for(std::ssize(rows), 1, [&](std::int64_t begin, std::int64_t end) {
    for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i)
      sums[i] = squares_of(rows[i].f32(), rows[i].count());
  });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace eyrie::tensor::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace eyrie::tensor::cpu {
HWY_EXPORT(SumsOfSquares);
void sums_of_squares(std::span<const Tensor> rows, std::span<double> sums) {
  HWY_DYNAMIC_DISPATCH(SumsOfSquares)(rows, sums);
}

namespace {

void add_to(float* __restrict sum, const float* __restrict term, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) sum[i] += term[i];
}

}  // namespace

double sum(const Tensor& x) {
  double total = 0;
  for (std::int64_t i = 0; i < x.count(); ++i) total += static_cast<double>(x.f32()[i]);
  return total;
}

// On the calling thread, in blocks that stay in the L1 cache while the tree is summed.
void sum_tree(std::span<const Tensor> parts, std::int64_t group) {
  constexpr std::int64_t kBlock = 1024;
  const auto ranks = static_cast<std::int64_t>(parts.size());
  const std::int64_t count = parts[0].count();
  std::vector<float*> block(parts.size());
  for (std::int64_t at = 0; at < count; at += kBlock) {
    const std::int64_t length = std::min(kBlock, count - at);
    for (std::size_t r = 0; r < parts.size(); ++r) block[r] = parts[r].f32() + at;
    for (std::int64_t first = 0; first < ranks; first += group) {
      float** const tree = block.data() + first;
      for (std::int64_t step = 1; step < group; step *= 2) {
        for (std::int64_t i = 0; i + step < group; i += 2 * step)
          add_to(tree[i], tree[i + step], length);
      }
      if (first > 0) add_to(block[0], block[first], length);
    }
  }
}

}  // namespace eyrie::tensor::cpu
#endif
