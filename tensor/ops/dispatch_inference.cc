// The operations of decoding and of int8 weights: shapes are checked, then the device of the
// operands computes.
#include <fmt/format.h>

#include "tensor/cpu/kernels.h"
#include "tensor/ops/run_on_device.h"

namespace eyrie::tensor {
namespace {

void check_int8(const char* operation, const Tensor& q, const Tensor& scales, std::int64_t block) {
  EYRIE_CHECK(q.dtype() == DType::kInt8 && block > 0 && scales.rows() == q.rows() &&
                  scales.columns() == int8_scales(q.columns(), block),
              fmt::format("{}: int8 {}x{} in blocks of {} with scales {}x{}", operation, q.rows(),
                          q.columns(), block, scales.rows(), scales.columns()));
}

}  // namespace

// ---- few_rows.h

void few_rows(std::span<const FewRowsProduct> products) {
  for (const FewRowsProduct& p : products) {
    EYRIE_CHECK(
        (p.transposed ? p.w.columns() : p.w.rows()) == p.x.columns() &&
            (p.transposed ? p.w.rows() : p.w.columns()) == p.out.columns() &&
            p.x.rows() == products[0].x.rows() && p.x.rows() == p.out.rows() &&
            (!p.bias || p.bias.count() == p.out.columns()) &&
            (p.x.dtype() == p.w.dtype() || p.x.dtype() == DType::kFloat32 ||
             (p.w.dtype() == DType::kInt8 && p.transposed)),
        fmt::format("few_rows: x {}x{} {}, w {}x{}{} {}, out {}x{}", p.x.rows(), p.x.columns(),
                    name_of(p.x.dtype()), p.w.rows(), p.w.columns(), p.transposed ? "^T" : "",
                    name_of(p.w.dtype()), p.out.rows(), p.out.columns()));
  }
  for (const FewRowsProduct& p : products)
    if (p.w.dtype() == DType::kInt8) check_int8("few_rows", p.w, p.scales, p.block);
  if (!products.empty()) run(__func__, products[0].out, cpu::few_rows, products);
}

void attention_step(const Tensor& q, std::span<const KeyRing> rings, std::int64_t heads,
                    const Tensor& out) {
  EYRIE_CHECK(std::ssize(rings) == q.rows() && q.dtype() == out.dtype(),
              "attention_step: one ring per sequence, one dtype");
  run(__func__, q, cpu::attention_step, q, rings, heads, out);
}

// ---- int8.h

void quantize(const Tensor& w, std::int64_t block, const Tensor& q, const Tensor& scales) {
  check_same_shape("quantize", w, q);
  check_int8("quantize", q, scales, block);
  run(__func__, w, cpu::quantize, w, block, q, scales);
}

void dequantize(const Tensor& q, const Tensor& scales, std::int64_t block, const Tensor& to) {
  check_same_shape("dequantize", q, to);
  check_int8("dequantize", q, scales, block);
  run(__func__, q, cpu::dequantize, q, scales, block, to);
}

void matmul_int8(const Tensor& x, const Tensor& q, const Tensor& scales, std::int64_t block,
                 const Tensor& out, const Tensor& bias) {
  check_int8("matmul_int8", q, scales, block);
  EYRIE_CHECK(x.columns() == q.columns() && out.columns() == q.rows() && out.rows() == x.rows() &&
                  (!bias || bias.count() == q.rows()),
              "matmul_int8: x (M, K), weights (N, K), out (M, N)");
  run(__func__, x, cpu::matmul_int8, x, q, scales, block, out, bias);
}

void embed_int8(const Tensor& table, const Tensor& scales, std::int64_t block, const Tensor& tokens,
                float scale, const Tensor& out) {
  check_int8("embed_int8", table, scales, block);
  EYRIE_CHECK(table.columns() == out.columns() && tokens.count() == out.rows(),
              "embed_int8: a row per token");
  run(__func__, table, cpu::embed_int8, table, scales, block, tokens, scale, out);
}

}  // namespace eyrie::tensor
