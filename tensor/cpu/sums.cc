// Sums in fixed orders.
#include <vector>

#include "tensor/cpu/kernels.h"

namespace eyrie::tensor::cpu {
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

double sum_of_squares(const Tensor& x) {
  const float* values = x.f32();
  const std::int64_t count = x.count();
  double sums[8] = {};
  std::int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    for (std::int64_t j = 0; j < 8; ++j)
      sums[j] += static_cast<double>(values[i + j]) * static_cast<double>(values[i + j]);
  }
  for (std::int64_t j = 0; i < count; ++i, ++j)
    sums[j] += static_cast<double>(values[i]) * static_cast<double>(values[i]);
  return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
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
