// Gradients of made-up micro-shards and their sum by the definition, for tests of the tree and of
// the exchange.
#pragma once

#include <cmath>
#include <cstring>
#include <vector>

#include "parallel/sharding/gradient_tree.h"

namespace eyrie::parallel {

// Values of very different sizes, so that every order of adding rounds differently.
inline std::vector<float> shard_gradient(std::int64_t shard, std::int64_t size) {
  std::vector<float> values(size);
  for (std::int64_t i = 0; i < size; ++i) {
    const double wave =
        std::sin(12.9898 * static_cast<double>(i + 1) + 78.233 * static_cast<double>(shard + 1));
    values[i] = static_cast<float>(wave * std::exp2(static_cast<double>((i * 7 + shard * 5) % 12)));
  }
  return values;
}

inline bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}

inline std::vector<float> added(std::vector<float> a, const std::vector<float>& b) {
  for (std::size_t i = 0; i < a.size(); ++i) a[i] = a[i] + b[i];
  return a;
}

// The definition: a balanced binary tree over [first, first + count), count a power of two.
inline std::vector<float> reference_subtree(std::int64_t first, std::int64_t count,
                                            std::int64_t size) {
  if (count == 1) return shard_gradient(first, size);
  return added(reference_subtree(first, count / 2, size),
               reference_subtree(first + count / 2, count / 2, size));
}

inline std::vector<float> reference_sum(std::int64_t micro_shards, std::int64_t size) {
  std::int64_t group = 1;
  while (micro_shards % (2 * group) == 0) group *= 2;
  std::vector<float> sum = reference_subtree(0, group, size);
  for (std::int64_t first = group; first < micro_shards; first += group) {
    sum = added(sum, reference_subtree(first, group, size));
  }
  return sum;
}

// What GradientAccumulator makes of a rank's micro-shards.
inline std::vector<float> local_sum(const MicroShardPlan& plan, int rank, std::int64_t size) {
  GradientAccumulator accumulator(plan, rank, size, tensor::Device::kCpu);
  for (std::int64_t shard = plan.first(rank); shard < plan.first(rank) + plan.count(rank);
       ++shard) {
    const std::vector<float> gradient = shard_gradient(shard, size);
    std::copy(gradient.begin(), gradient.end(), accumulator.buffer().f32());
    accumulator.add();
  }
  const tensor::Tensor sum = accumulator.sum();
  return {sum.f32(), sum.f32() + sum.count()};
}

}  // namespace eyrie::parallel
