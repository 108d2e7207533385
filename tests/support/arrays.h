// Matrices for the tests of operations: memory of any dtype, filled with repeatable numbers, read
// back as double. What was not written is NaN, and so are the gaps between the rows and a guard
// behind the last: an operation that reads them or leaves an element out shows it.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <string>
#include <vector>

#include "base/philox.h"
#include "tensor/tensor.h"
#include "tensor/threads.h"

namespace eyrie::test {

using tensor::DType;
using tensor::Tensor;

class Array {
 public:
  Array(DType dtype, std::int64_t rows, std::int64_t columns, std::int64_t stride = -1)
      : memory_(static_cast<std::size_t>((rows * std::max(stride, columns) + kGuard) *
                                         tensor::size_of(dtype)),
                std::byte{0xff}),
        tensor_(memory_.data(), dtype, rows, columns, stride) {}
  Array(const Array& other)
      : memory_(other.memory_),
        tensor_(memory_.data(), other.tensor_.dtype(), other.tensor_.rows(),
                other.tensor_.columns(), other.tensor_.stride()) {}
  Array(Array&& other) noexcept : Array(static_cast<const Array&>(other)) {}
  Array& operator=(const Array&) = delete;
  ~Array() {
    for (std::size_t i = memory_.size() - guard_bytes(); i < memory_.size(); ++i) {
      if (memory_[i] != std::byte{0xff}) {
        ADD_FAILURE() << "written behind the end of a matrix";
        return;
      }
    }
  }

  // Normal numbers times `scale`, rounded to the dtype; a function of `seed`.
  static Array normal(DType dtype, std::int64_t rows, std::int64_t columns, std::uint64_t seed,
                      double scale = 1, std::int64_t stride = -1) {
    Array array(dtype, rows, columns, stride);
    const base::Philox random(seed, "array");
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t c = 0; c < columns; ++c)
        array.put(r, c, scale * random.normal(static_cast<std::uint64_t>(r * columns + c)));
    }
    return array;
  }
  template <class T>
  static Array of(DType dtype, std::int64_t rows, std::int64_t columns,
                  const std::vector<T>& values) {
    EXPECT_EQ(static_cast<std::int64_t>(values.size()), rows * columns);
    Array array(dtype, rows, columns);
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t c = 0; c < columns; ++c)
        array.put(r, c, static_cast<double>(values[static_cast<std::size_t>(r * columns + c)]));
    }
    return array;
  }
  static Array zeros(DType dtype, std::int64_t rows, std::int64_t columns) {
    return of(dtype, rows, columns,
              std::vector<float>(static_cast<std::size_t>(rows * columns), 0.0f));
  }
  static Array ints(const std::vector<std::int32_t>& values) {
    return of(DType::kInt32, 1, static_cast<std::int64_t>(values.size()), values);
  }

  operator const Tensor&() const { return tensor_; }
  const Tensor* operator->() const { return &tensor_; }
  double operator()(std::int64_t r, std::int64_t c) const {
    const std::int64_t at = r * tensor_.stride() + c;
    switch (tensor_.dtype()) {
      case DType::kFloat32:
        return tensor_.f32()[at];
      case DType::kBFloat16:
        return tensor::to_float(tensor_.as<tensor::BFloat16>()[at]);
      default:
        return tensor_.as<std::int32_t>()[at];
    }
  }
  void put(std::int64_t r, std::int64_t c, double value) {
    const std::int64_t at = r * tensor_.stride() + c;
    switch (tensor_.dtype()) {
      case DType::kFloat32:
        tensor_.f32()[at] = static_cast<float>(value);
        break;
      case DType::kBFloat16:
        tensor_.as<tensor::BFloat16>()[at] = tensor::to_bfloat16(static_cast<float>(value));
        break;
      default:
        tensor_.as<std::int32_t>()[at] = static_cast<std::int32_t>(value);
    }
  }
  // Row after row, without the gaps.
  std::vector<double> values() const {
    std::vector<double> all;
    for (std::int64_t r = 0; r < tensor_.rows(); ++r) {
      for (std::int64_t c = 0; c < tensor_.columns(); ++c) all.push_back((*this)(r, c));
    }
    return all;
  }
  const std::vector<std::byte>& bytes() const { return memory_; }

 private:
  static constexpr std::int64_t kGuard = 16;
  std::size_t guard_bytes() const {
    return static_cast<std::size_t>(kGuard * tensor::size_of(tensor_.dtype()));
  }
  std::vector<std::byte> memory_;
  Tensor tensor_;
};

inline double largest(const std::vector<double>& values) {
  double most = 0;
  for (const double v : values) most = std::max(most, std::abs(v));
  return most;
}

// Every element within `of_largest` of the largest expected one (or of `least_scale`, where that is
// more), and for bf16 within one rounding more. A NaN is expected where the reference has one, and
// nowhere else.
inline void expect_near(const Array& got, const std::vector<double>& expected, double of_largest,
                        const std::string& what, double least_scale = 0) {
  const std::vector<double> values = got.values();
  ASSERT_EQ(values.size(), expected.size()) << what;
  double scale = least_scale;
  for (const double v : expected) {
    if (std::isfinite(v)) scale = std::max(scale, std::abs(v));
  }
  const double rounding = got->dtype() == DType::kBFloat16 ? 1.001 / 256 : 0;
  int shown = 0;
  for (std::size_t i = 0; i < values.size() && shown < 4; ++i) {
    const double tolerance = of_largest * scale + rounding * std::abs(expected[i]);
    const bool good = std::isnan(expected[i]) ? std::isnan(values[i])
                                              : values[i] == expected[i] ||  // infinities too
                                                    std::abs(values[i] - expected[i]) <= tolerance;
    if (good) continue;
    ++shown;
    ADD_FAILURE() << what << "[" << i / static_cast<std::size_t>(got->columns()) << ", "
                  << i % static_cast<std::size_t>(got->columns()) << "] is " << values[i]
                  << " instead of " << expected[i] << ", tolerance " << tolerance;
  }
}

inline void expect_same_bytes(const Array& got, const Array& expected, const std::string& what) {
  EXPECT_TRUE(got.bytes() == expected.bytes()) << what << ": other bits";
}

// `work` makes its outputs anew and returns them; they must be the same bits on one thread and on
// each of these numbers of threads.
inline void expect_same_bits_on_any_threads(const std::function<std::vector<Array>()>& work,
                                            std::initializer_list<int> numbers = {2, 3}) {
  const int before = tensor::thread_count();
  tensor::set_thread_count(1);
  const std::vector<Array> one = work();
  for (const int threads : numbers) {
    tensor::set_thread_count(threads);
    const std::vector<Array> more = work();
    ASSERT_EQ(one.size(), more.size());
    for (std::size_t i = 0; i < one.size(); ++i) {
      expect_same_bytes(
          more[i], one[i],
          "output " + std::to_string(i) + " on " + std::to_string(threads) + " threads");
    }
  }
  tensor::set_thread_count(before);
}

// Positions of packed documents: each counts from 0.
inline std::vector<std::int32_t> positions_of(const std::vector<std::int64_t>& documents) {
  std::vector<std::int32_t> positions;
  for (const std::int64_t length : documents) {
    for (std::int64_t t = 0; t < length; ++t) positions.push_back(static_cast<std::int32_t>(t));
  }
  return positions;
}

constexpr DType kBothDTypes[] = {DType::kFloat32, DType::kBFloat16};

}  // namespace eyrie::test
