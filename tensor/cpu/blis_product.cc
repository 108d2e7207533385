// Products by BLIS (Van Zee and van de Geijn 2015): its packed kernels compute every element in the
// same way, whatever the sizes and strides. Its other path, for small products, is disabled.
#include <blis.h>

#include <cstdlib>
#include <string>

#include "tensor/cpu/kernels.h"
#include "tensor/cpu/products.h"

namespace eyrie::tensor::cpu {
namespace {

// BLIS chooses its kernels by the names of processors that it knows, which would be plain C++ on a
// newer one and AVX-512 where ONEDNN_MAX_CPU_ISA forbids it. The kernels for Haswell suit every
// processor with AVX2, and one choice for all gives all the same bits. BLIS reads this before its
// first product; a value that the user set stays.
[[maybe_unused]] const bool kKernelsChosen = [] {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    setenv("BLIS_ARCH_TYPE", std::to_string(BLIS_ARCH_HASWELL).c_str(), 0);
#endif
  return true;
}();

// A matrix as BLIS takes it: its first element, and the steps between rows and between columns.
struct Matrix {
  const float* data;
  std::int64_t row_step, column_step;
};

Matrix matrix(const Tensor& x, bool transposed) {
  return transposed ? Matrix{x.f32(), 1, x.stride()} : Matrix{x.f32(), x.stride(), 1};
}

// out = a · b, or out += a · b.
void multiply(const Matrix& a, const Matrix& b, const Tensor& out, std::int64_t k,
              bool accumulate) {
  float one = 1, beta = accumulate ? 1 : 0;
  rntm_t runtime = BLIS_RNTM_INITIALIZER;
  bli_rntm_set_num_threads(1, &runtime);
  bli_rntm_disable_l3_sup(&runtime);
  bli_sgemm_ex(BLIS_NO_TRANSPOSE, BLIS_NO_TRANSPOSE, out.rows(), out.columns(), k, &one,
               const_cast<float*>(a.data), a.row_step, a.column_step, const_cast<float*>(b.data),
               b.row_step, b.column_step, &beta, out.f32(), out.stride(), 1, nullptr, &runtime);
}

void add_bias(const Tensor& bias, const Tensor& out) {
  for (std::int64_t r = 0; r < out.rows(); ++r) cpu::add(bias, out.row_range(r, 1));
}

}  // namespace

void blis_product(const Product& p) {
  multiply(matrix(p.a, p.options.transpose_a), matrix(p.b, p.options.transpose_b), p.out, p.k,
           p.options.accumulate);
  if (p.bias) add_bias(p.bias, p.out);
}

}  // namespace eyrie::tensor::cpu
