// matmul over oneDNN: a cache of primitives a thread, products split by output rows.
#include "tensor/ops/matmul.h"

#include <fmt/format.h>
#include <omp.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <dnnl.hpp>
#include <limits>
#include <map>
#include <vector>

#include "tensor/ops/elementwise.h"
#include "tensor/threads.h"

namespace eyrie::tensor {
namespace {

// A multiple of six and more than 16: see product_of_rows.
constexpr std::int64_t kRowTile = 24;

using Dims = dnnl::memory::dims;

// oneDNN's own threading stays off: products run in our threads, one each.
class OneThread {
 public:
  OneThread() : before_(omp_get_max_threads()) {
    if (before_ > 1) omp_set_num_threads(1);
  }
  ~OneThread() {
    if (before_ > 1) omp_set_num_threads(before_);
  }

 private:
  int before_;
};

const dnnl::engine& engine() {
  static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

// oneDNN multiplies bf16 with AVX-512 alone.
bool has_avx512() {
  static const bool has = dnnl::get_effective_cpu_isa() >= dnnl::cpu_isa::avx512_core;
  return has;
}

dnnl::memory::data_type type_of(DType dtype) {
  return dtype == DType::kFloat32 ? dnnl::memory::data_type::f32 : dnnl::memory::data_type::bf16;
}

struct Product {
  dnnl::matmul primitive;
  dnnl::memory a, b, out, bias;
};

// M, N, K, three strides, and all flags in one number.
using Key = std::array<std::int64_t, 7>;

Product& product(const Key& key, DType in, DType out, MatmulOptions options, bool with_bias) {
  thread_local std::map<Key, Product> cache;
  auto found = cache.find(key);
  if (found != cache.end()) return found->second;
  const auto [m, n, k, stride_a, stride_b, stride_out, flags] = key;
  const auto strides = [](bool transposed, std::int64_t stride) {
    return transposed ? Dims{1, stride} : Dims{stride, 1};
  };
  const dnnl::memory::desc a({m, k}, type_of(in), strides(options.transpose_a, stride_a));
  const dnnl::memory::desc b({k, n}, type_of(in), strides(options.transpose_b, stride_b));
  const dnnl::memory::desc c({m, n}, type_of(out), strides(false, stride_out));
  const dnnl::memory::desc bias({1, n}, dnnl::memory::data_type::f32, Dims{n, 1});
  dnnl::primitive_attr attributes;
  if (options.accumulate) {
    dnnl::post_ops sum;
    sum.append_sum(1.0f);
    attributes.set_post_ops(sum);
  }
  const auto operation =
      with_bias ? dnnl::matmul::desc(a, b, bias, c) : dnnl::matmul::desc(a, b, c);
  const auto memory = [](const dnnl::memory::desc& d) {
    return dnnl::memory(d, engine(), nullptr);
  };
  Product made{dnnl::matmul({operation, attributes, engine()}), memory(a), memory(b), memory(c),
               memory(bias)};
  return cache.emplace(key, std::move(made)).first->second;
}

void one_product(const Tensor& a, const Tensor& b, const Tensor& out, MatmulOptions options,
                 const Tensor& bias, std::int64_t k) {
  OneThread guard;
  const std::int64_t flags = (options.transpose_a ? 1 : 0) | (options.transpose_b ? 2 : 0) |
                             (options.accumulate ? 4 : 0) | (bias ? 8 : 0) |
                             (a.dtype() == DType::kBFloat16 ? 16 : 0) |
                             (out.dtype() == DType::kBFloat16 ? 32 : 0);
  Product& p = product({out.rows(), out.columns(), k, a.stride(), b.stride(), out.stride(), flags},
                       a.dtype(), out.dtype(), options, static_cast<bool>(bias));
  thread_local dnnl::stream stream(engine());
  p.a.set_data_handle(a.data());
  p.b.set_data_handle(b.data());
  p.out.set_data_handle(out.data());
  if (bias) {
    p.bias.set_data_handle(bias.data());
    p.primitive.execute(stream, {{DNNL_ARG_SRC, p.a},
                                 {DNNL_ARG_WEIGHTS, p.b},
                                 {DNNL_ARG_DST, p.out},
                                 {DNNL_ARG_BIAS, p.bias}});
  } else {
    p.primitive.execute(stream,
                        {{DNNL_ARG_SRC, p.a}, {DNNL_ARG_WEIGHTS, p.b}, {DNNL_ARG_DST, p.out}});
  }
}

// For processors without bf16 products: the same values, widened.
void product_in_fp32(const Tensor& a, const Tensor& b, const Tensor& out, MatmulOptions options,
                     const Tensor& bias) {
  const auto widen = [](const Tensor& from, std::vector<float>& memory) {
    memory.resize(static_cast<std::size_t>(from.count()));
    Tensor to(memory.data(), DType::kFloat32, from.rows(), from.columns());
    convert(from, to);
    return to;
  };
  std::vector<float> a_memory, b_memory, out_memory;
  const Tensor wide_a = widen(a, a_memory), wide_b = widen(b, b_memory);
  if (out.dtype() == DType::kFloat32) return matmul(wide_a, wide_b, out, options, bias);
  out_memory.resize(static_cast<std::size_t>(out.count()));
  const Tensor wide_out(out_memory.data(), DType::kFloat32, out.rows(), out.columns());
  matmul(wide_a, wide_b, wide_out, options, bias);
  convert(wide_out, out);
}

// Rows of out whose bits do not depend on how many there are. oneDNN's kernels have forms of their
// own, with other sums, for the last rows of a product (by sixes, before AVX-512) or for few rows
// (with AVX-512, where rows are strided): those are computed among rows of zeros, as a whole tile.
// With `accumulate`, which training alone uses, they are only kept apart.
void product_of_rows(const Tensor& a, const Tensor& b, const Tensor& out, MatmulOptions options,
                     const Tensor& bias, std::int64_t k) {
  const auto dense = [](const Tensor& x) { return x.stride() == x.columns(); };
  const std::int64_t rows = out.rows(), whole = rows / kRowTile * kRowTile;
  const bool any_rows = has_avx512() && (whole > 0 || (dense(a) && dense(b) && dense(out)));
  if (any_rows || whole == rows) return one_product(a, b, out, options, bias, k);
  if (whole > 0) one_product(a.row_range(0, whole), b, out.row_range(0, whole), options, bias, k);
  const Tensor last_a = a.row_range(whole, rows - whole), last = out.row_range(whole, rows - whole);
  if (options.accumulate) return one_product(last_a, b, last, options, bias, k);
  thread_local std::vector<float> a_memory, out_memory;
  a_memory.assign(static_cast<std::size_t>(kRowTile * a.stride()), 0.0f);
  out_memory.resize(static_cast<std::size_t>(kRowTile * out.stride()));
  const Tensor wide_a(a_memory.data(), a.dtype(), kRowTile, k, a.stride());
  const Tensor wide_out(out_memory.data(), out.dtype(), kRowTile, out.columns(), out.stride());
  convert(last_a, wide_a.row_range(0, rows - whole));
  one_product(wide_a, b, wide_out, options, bias, k);
  convert(wide_out.row_range(0, rows - whole), last);
}

// The same for columns of out, which the attention of a longer or shorter batch needs: before
// AVX-512 the last columns beyond a multiple of 16 have sums of their own, too.
void product_of_rows_and_columns(const Tensor& a, const Tensor& b, const Tensor& out,
                                 MatmulOptions options, const Tensor& bias, std::int64_t k) {
  constexpr std::int64_t kColumnTile = 16;
  const std::int64_t rows = out.rows(), rest = out.columns() % kColumnTile;
  const std::int64_t whole = out.columns() - rest;
  if (has_avx512() || !options.transpose_b || options.accumulate || bias || rest == 0)
    return product_of_rows(a, b, out, options, bias, k);
  if (whole > 0)
    product_of_rows(a, b.row_range(0, whole), out.column_range(0, whole), options, bias, k);
  std::vector<float> b_memory(static_cast<std::size_t>(kColumnTile * k), 0.0f);
  std::vector<float> out_memory(static_cast<std::size_t>(rows * kColumnTile));
  const Tensor wide_b(b_memory.data(), b.dtype(), kColumnTile, k);
  const Tensor wide_out(out_memory.data(), out.dtype(), rows, kColumnTile);
  convert(b.row_range(whole, rest), wide_b.row_range(0, rest));
  product_of_rows(a, wide_b, wide_out, options, bias, k);
  convert(wide_out.column_range(0, rest), out.column_range(whole, rest));
}

// The sums of a transposed a change with its columns' number and stride (other kernels, other
// blocks of K): it is cut where its size says, whatever the number of threads.
void transposed_product(const Tensor& a, const Tensor& b, const Tensor& out, MatmulOptions options,
                        const Tensor& bias, std::int64_t k) {
  const std::int64_t m = out.rows();
  const std::int64_t tile = std::clamp<std::int64_t>((m / 8 + 63) / 64 * 64, 64, 512);
  parallel_for((m + tile - 1) / tile, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t first = begin * tile; first < std::min(end * tile, m); first += tile) {
      const std::int64_t rows = std::min(tile, m - first);
      one_product(a.column_range(first, rows), b, out.row_range(first, rows), options, bias, k);
    }
  });
}

// K = 0, which oneDNN does not take: the bias, zeros, or with `accumulate` what was there.
void sum_of_nothing(const Tensor& out, bool accumulate, const Tensor& bias) {
  std::vector<float> zeros(static_cast<std::size_t>(out.columns()), 0.0f);
  const Tensor zero(zeros.data(), DType::kFloat32, 1, out.columns());
  for (std::int64_t r = 0; r < out.rows(); ++r) {
    const Tensor row = out.row_range(r, 1);
    if (!accumulate) {
      convert(bias ? bias : zero, row);
    } else if (bias) {
      add(bias, row);
    }
  }
}

}  // namespace

void matmul(const Tensor& a, const Tensor& b, const Tensor& out, MatmulOptions options,
            const Tensor& bias) {
  const std::int64_t m = out.rows(), n = out.columns();
  const std::int64_t k = options.transpose_a ? a.rows() : a.columns();
  EYRIE_CHECK(
      (options.transpose_a ? a.columns() : a.rows()) == m &&
          (options.transpose_b ? b.rows() : b.columns()) == n &&
          (options.transpose_b ? b.columns() : b.rows()) == k && a.dtype() == b.dtype() &&
          (!bias || bias.count() == n) &&
          (out.dtype() == DType::kFloat32 || (out.dtype() == a.dtype() && !options.accumulate)),
      fmt::format("matmul: a {}x{}{} {}, b {}x{}{} {}, out {}x{} {}", a.rows(), a.columns(),
                  options.transpose_a ? "^T" : "", name_of(a.dtype()), b.rows(), b.columns(),
                  options.transpose_b ? "^T" : "", name_of(b.dtype()), m, n, name_of(out.dtype())));
  if (m == 0 || n == 0) return;
  if (k == 0) return sum_of_nothing(out, options.accumulate, bias);
  if (a.dtype() == DType::kBFloat16 && !has_avx512())
    return product_in_fp32(a, b, out, options, bias);
  if (options.transpose_a) {
    transposed_product(a, b, out, options, bias, k);
  } else {
    parallel_rows(m, [&](std::int64_t begin, std::int64_t end) {
      const std::int64_t rows = end - begin;
      product_of_rows_and_columns(a.row_range(begin, rows), b, out.row_range(begin, rows), options,
                                  bias, k);
    });
  }
}

void parallel_rows(std::int64_t rows,
                   const std::function<void(std::int64_t begin, std::int64_t end)>& body) {
  if (rows <= 0) return;
  const std::int64_t tiles = std::max<std::int64_t>(1, rows / kRowTile);
  parallel_for(tiles, 1, [&](std::int64_t begin, std::int64_t end) {
    body(begin * kRowTile, end == tiles ? rows : end * kRowTile);
  });
}

double measure_matmul_peak(DType dtype, std::int64_t size, int repeats) {
  const auto elements = static_cast<std::size_t>(size * size);
  std::vector<float> a(elements, 0.0f), b(elements, 0.0f), out(elements);
  const Tensor left(a.data(), dtype, size, size), right(b.data(), dtype, size, size);
  const Tensor result(out.data(), DType::kFloat32, size, size);
  double best = std::numeric_limits<double>::infinity();
  for (int i = 0; i <= repeats; ++i) {  // the first warms up
    const auto start = std::chrono::steady_clock::now();
    matmul(left, right, result);
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
    if (i > 0) best = std::min(best, taken.count());
  }
  return 2.0 * static_cast<double>(size) * static_cast<double>(size) * static_cast<double>(size) /
         best;
}

}  // namespace eyrie::tensor
