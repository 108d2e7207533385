// What the benchmarks of operations share: the sizes of a training step of the 10m model, filled
// matrices, and how a result is stated.
#pragma once

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "base/philox.h"
#include "tensor/arena.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/matmul.h"
#include "tensor/threads.h"

namespace eyrie::bench {

using tensor::DType;
using tensor::Tensor;

constexpr std::int64_t kTokens = 2048, kWidth = 256, kMlp = 768, kVocabulary = 8192, kHeads = 4,
                       kHeadDim = kWidth / kHeads, kLength = 512, kSequences = kTokens / kLength;

// Keeps what it hands out until the end of the benchmark.
class Matrices {
 public:
  // Even numbers in [−1, 1).
  Tensor filled(DType dtype, std::int64_t rows, std::int64_t columns) {
    const Tensor values = make(DType::kFloat32, rows, columns);
    const base::Philox random(1, "bench");
    for (std::int64_t i = 0; i < values.count(); i += 4) {
      const auto words = random.block(static_cast<std::uint64_t>(i));
      for (std::int64_t j = i; j < std::min(i + 4, values.count()); ++j) {
        values.f32()[j] =
            static_cast<float>(words[static_cast<std::size_t>(j - i)]) * 0x1p-31f - 1.0f;
      }
    }
    if (dtype == DType::kFloat32) return values;
    const Tensor rounded = make(dtype, rows, columns);
    tensor::convert(values, rounded);
    return rounded;
  }
  Tensor zeros(DType dtype, std::int64_t rows, std::int64_t columns) {
    const Tensor tensor = make(dtype, rows, columns);
    buffers_.back().zero();
    return tensor;
  }
  // 0, 1, … length − 1, again and again.
  Tensor positions(std::int64_t count, std::int64_t length) {
    const Tensor tensor = make(DType::kInt32, 1, count);
    for (std::int64_t i = 0; i < count; ++i)
      tensor.as<std::int32_t>()[i] = static_cast<std::int32_t>(i % length);
    return tensor;
  }

 private:
  Tensor make(DType dtype, std::int64_t rows, std::int64_t columns) {
    buffers_.emplace_back(static_cast<std::size_t>(rows * columns * tensor::size_of(dtype)));
    return {buffers_.back().data(), dtype, rows, columns};
  }
  std::vector<tensor::Buffer> buffers_;
};

// Arguments of every benchmark: 0 fp32 or 1 bf16, threads.
inline DType dtype_of(const benchmark::State& state) {
  return state.range(0) == 0 ? DType::kFloat32 : DType::kBFloat16;
}
inline void use_threads(const benchmark::State& state) {
  tensor::set_thread_count(static_cast<int>(state.range(1)));
}
inline void both_dtypes(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgNames({"bf16", "threads"})
      ->ArgsProduct({{0, 1}, {1, 2}})
      ->Unit(benchmark::kMillisecond)
      ->UseRealTime();
}

// Elements per second, and their inverse.
inline void per_element(benchmark::State& state, std::int64_t elements) {
  const auto all = static_cast<double>(elements) * static_cast<double>(state.iterations());
  state.counters["s/element"] =
      benchmark::Counter(all, benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

// Bytes per second of copies of 64 MB by all threads, read and written; the median of nine.
inline double copy_bandwidth() {
  static std::map<int, double> rates;
  double& rate = rates[tensor::thread_count()];
  if (rate > 0) return rate;
  constexpr std::int64_t kBytes = std::int64_t{64} << 20;
  tensor::Buffer from(kBytes), to(kBytes);
  from.zero();
  to.zero();
  std::vector<double> all;
  for (int i = 0; i < 9; ++i) {
    const auto start = std::chrono::steady_clock::now();
    tensor::parallel_for(kBytes, 1, [&](std::int64_t begin, std::int64_t end) {
      std::memcpy(to.data() + begin, from.data() + begin, static_cast<std::size_t>(end - begin));
    });
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
    all.push_back(2.0 * static_cast<double>(kBytes) / taken.count());
  }
  std::sort(all.begin(), all.end());
  return rate = all[4];
}

// Bytes per second, and their share of the copy bandwidth.
inline void per_byte(benchmark::State& state, double bytes) {
  const double all = bytes * static_cast<double>(state.iterations());
  state.counters["bytes/s"] = benchmark::Counter(all, benchmark::Counter::kIsRate);
  state.counters["of_copy"] =
      benchmark::Counter(all / copy_bandwidth(), benchmark::Counter::kIsRate);
}

// FLOP/s, and their share of the best product of 2048³ in this dtype on as many threads.
inline void per_flop(benchmark::State& state, double flops) {
  static std::map<std::pair<DType, int>, double> peaks;
  const std::pair key{dtype_of(state), tensor::thread_count()};
  if (peaks.count(key) == 0) peaks[key] = tensor::measure_matmul_peak(key.first);
  const double all = flops * static_cast<double>(state.iterations());
  state.counters["FLOP/s"] = benchmark::Counter(all, benchmark::Counter::kIsRate);
  state.counters["of_peak"] = benchmark::Counter(all / peaks[key], benchmark::Counter::kIsRate);
}

}  // namespace eyrie::bench
