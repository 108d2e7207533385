// Sends every operation to the device of its operands. Shapes are checked here, for all devices.
#include <fmt/format.h>

#include <algorithm>

#include "tensor/cpu/attention_tiles.h"
#include "tensor/cpu/kernels.h"
#include "tensor/ops/run_on_device.h"
#include "tensor/transfer.h"

namespace eyrie::tensor {

// ---- adamw.h

void adamw(const Tensor& parameter, const Tensor& gradient, const Tensor& moment1,
           const Tensor& moment2, const AdamWStep& step) {
  check_same_shape("adamw", parameter, gradient);
  check_same_shape("adamw", parameter, moment1);
  check_same_shape("adamw", parameter, moment2);
  run(__func__, parameter, cpu::adamw, parameter, gradient, moment1, moment2, step);
}

// ---- attention.h

void attention(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& first_key,
               const AttentionShape& shape, const Tensor& out, const Tensor& log_sum,
               Arena& scratch) {
  if (q.device() == Device::kMeta) return cpu::allocate_tiles(shape, q.dtype(), false, scratch);
  run(__func__, q, cpu::attention, q, k, v, first_key, shape, out, log_sum, scratch);
}

void attention_backward(const Tensor& dout, const Tensor& q, const Tensor& k, const Tensor& v,
                        const Tensor& out, const Tensor& log_sum, const Tensor& first_key,
                        const AttentionShape& shape, const Tensor& dq, const Tensor& dk,
                        const Tensor& dv, Arena& scratch) {
  if (q.device() == Device::kMeta) return cpu::allocate_tiles(shape, q.dtype(), true, scratch);
  run(__func__, q, cpu::attention_backward, dout, q, k, v, out, log_sum, first_key, shape, dq, dk,
      dv, scratch);
}

void rope_angles(const Tensor& positions, std::int64_t head_dim, const Tensor& cosines,
                 const Tensor& sines) {
  run(__func__, positions, cpu::rope_angles, positions, head_dim, cosines, sines);
}

void rope(const Tensor& x, const Tensor& cosines, const Tensor& sines, bool inverse,
          const Tensor& y) {
  check_same_shape("rope", x, y);
  run(__func__, x, cpu::rope, x, cosines, sines, inverse, y);
}

// ---- conv1d.h

void conv1d(const Tensor& x, const Tensor& w, const Tensor& b, const Tensor& positions,
            std::int64_t sequences, const Tensor& y, const Tensor& history) {
  check_same_shape("conv1d", x, y);
  run(__func__, x, cpu::conv1d, x, w, b, positions, sequences, y, history);
}

void conv1d_backward(const Tensor& dy, const Tensor& x, const Tensor& w, const Tensor& positions,
                     std::int64_t sequences, const Tensor& dx, const Tensor& dw, const Tensor& db,
                     const ConvNeighbours& neighbours) {
  check_same_shape("conv1d_backward", dy, dx);
  run(__func__, dy, cpu::conv1d_backward, dy, x, w, positions, sequences, dx, dw, db, neighbours);
}

// ---- cross_entropy.h

void cross_entropy(const Tensor& logits, const Tensor& targets, const Tensor& weight, float cap,
                   const Tensor& nll, const Tensor& dlogits, float gradient_scale) {
  run(__func__, logits, cpu::cross_entropy, logits, targets, weight, cap, nll, dlogits,
      gradient_scale);
}

void cross_entropy_sums(const Tensor& logits, const Tensor& targets, std::int64_t first, float cap,
                        const Tensor& sums) {
  run(__func__, logits, cpu::cross_entropy_sums, logits, targets, first, cap, sums);
}

void cross_entropy_split(const Tensor& capped, const Tensor& targets, const Tensor& weight,
                         std::int64_t first, float cap, const Tensor& all_sums, const Tensor& nll,
                         const Tensor& dlogits, float gradient_scale) {
  run(__func__, capped, cpu::cross_entropy_split, capped, targets, weight, first, cap, all_sums,
      nll, dlogits, gradient_scale);
}

void score_logits(const Tensor& logits, float cap, const Tensor& log_sum, const Tensor& argmax) {
  run(__func__, logits, cpu::score_logits, logits, cap, log_sum, argmax);
}

// ---- elementwise.h

void zero(const Tensor& x) {
  if (!x.empty()) run(__func__, x, cpu::zero, x);
}

void copy(const Tensor& from, const Tensor& to) {
  EYRIE_CHECK(from.dtype() == to.dtype() && from.count() == to.count() &&
                  (from.columns() == to.columns() || (from.contiguous() && to.contiguous())),
              "copy: two tensors of one dtype and shape");
  // From one device to another too.
  if (!from.empty() && to.device() != Device::kMeta) run(__func__, from, cpu::copy, from, to);
}

void gather_rows(const Tensor& from, std::span<const std::int64_t> rows, const Tensor& to) {
  EYRIE_CHECK(
      from.dtype() == to.dtype() && from.columns() == to.columns() && std::ssize(rows) == to.rows(),
      "gather_rows: as many rows of the same columns");
  run(__func__, from, cpu::gather_rows, from, rows, to);
}

void convert(const Tensor& from, const Tensor& to) {
  check_same_shape("convert", from, to);
  run(__func__, from, cpu::convert, from, to);
}

void round_to_bfloat16(const Tensor& x) { run(__func__, x, cpu::round_to_bfloat16, x); }

void transpose(const Tensor& from, const Tensor& to) {
  EYRIE_CHECK(to.rows() == from.columns() && to.columns() == from.rows(),
              "transpose: (r, c) to (c, r)");
  run(__func__, from, cpu::transpose, from, to);
}

void add(const Tensor& x, const Tensor& y) {
  check_same_shape("add", x, y);
  run(__func__, x, cpu::add, x, y);
}

void affine(const Tensor& product, const Tensor& rest, const Tensor& state) {
  EYRIE_CHECK(product.count() == state.count() && rest.count() == state.count(),
              "affine: three tensors of one size");
  run(__func__, state, cpu::affine, product, rest, state);
}

void column_sum(const Tensor& x, const Tensor& out, bool overwrite) {
  EYRIE_CHECK(x.columns() == out.count(), "column_sum: a sum per column");
  run(__func__, x, cpu::column_sum, x, out, overwrite);
}

void gelu_gate(const Tensor& gate, const Tensor& value, const Tensor& out) {
  check_same_shape("gelu_gate", gate, value);
  check_same_shape("gelu_gate", gate, out);
  run(__func__, gate, cpu::gelu_gate, gate, value, out);
}

void gelu_gate_backward(const Tensor& dout, const Tensor& gate, const Tensor& value,
                        const Tensor& dgate, const Tensor& dvalue, const Tensor& out) {
  check_same_shape("gelu_gate_backward", dout, gate);
  if (out) check_same_shape("gelu_gate_backward", out, gate);
  run(__func__, dout, cpu::gelu_gate_backward, dout, gate, value, dgate, dvalue, out);
}

void soft_cap(const Tensor& x, float cap) { run(__func__, x, cpu::soft_cap, x, cap); }

// ---- embedding.h

void embed(const Tensor& table, const Tensor& tokens, float scale, const Tensor& out,
           std::int64_t first) {
  EYRIE_CHECK(table.columns() == out.columns() && tokens.count() == out.rows(),
              "embed: a row per token");
  run(__func__, table, cpu::embed, table, tokens, scale, out, first);
}

void embed_backward(const Tensor& dout, const Tensor& tokens, float scale, const Tensor& dtable,
                    std::int64_t first) {
  EYRIE_CHECK(dtable.columns() == dout.columns() && tokens.count() == dout.rows(),
              "embed_backward: a row per token");
  run(__func__, dout, cpu::embed_backward, dout, tokens, scale, dtable, first);
}

// ---- matmul.h

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
  std::string name = __func__;
  if (recording_operation_times()) {
    name = fmt::format("matmul {}x{}x{}{}{}{}", m, n, k, options.transpose_a ? " a^T" : "",
                       options.transpose_b ? " b^T" : "", options.accumulate ? " +=" : "");
  }
  run(name.c_str(), out, cpu::matmul, a, b, out, options, bias);
}

// ---- positions.h

void continue_positions(std::span<const std::int64_t> starts, const Tensor& positions) {
  run(__func__, positions, cpu::continue_positions, starts, positions);
}

void first_keys(const Tensor& positions, std::int64_t sequences, std::int64_t past,
                std::int64_t reach, const Tensor& first_key) {
  check_same_shape("first_keys", positions, first_key);
  run(__func__, positions, cpu::first_keys, positions, sequences, past, reach, first_key);
}

bool all_in_range(const Tensor& ids, std::int64_t end, const Tensor& weight) {
  return run_for(__func__, true, ids, cpu::all_in_range, ids, end, weight);
}

// ---- rg_lru.h

void rg_lru(const Tensor& u, const Tensor& gate_x, const Tensor& gate_a, const Tensor& bias_x,
            const Tensor& bias_a, const Tensor& a_param, const Tensor& positions,
            std::int64_t sequences, const Tensor& h, const Tensor& state) {
  check_same_shape("rg_lru", u, h);
  run(__func__, u, cpu::rg_lru, u, gate_x, gate_a, bias_x, bias_a, a_param, positions, sequences, h,
      state);
}

void rg_lru_backward(const RgLruBackward& args, std::int64_t sequences) {
  check_same_shape("rg_lru_backward", args.dh, args.du);
  run(__func__, args.dh, cpu::rg_lru_backward, args, sequences);
}

void rg_lru_summary(const Tensor& u, const Tensor& gate_x, const Tensor& gate_a,
                    const Tensor& bias_x, const Tensor& bias_a, const Tensor& a_param,
                    const Tensor& positions, std::int64_t sequences, const Tensor& product,
                    const Tensor& last) {
  run(__func__, u, cpu::rg_lru_summary, u, gate_x, gate_a, bias_x, bias_a, a_param, positions,
      sequences, product, last);
}

void rg_lru_backward_summary(const Tensor& dh, const Tensor& r, const Tensor& a_param,
                             const Tensor& positions, std::int64_t sequences, const Tensor& product,
                             const Tensor& first) {
  run(__func__, dh, cpu::rg_lru_backward_summary, dh, r, a_param, positions, sequences, product,
      first);
}

// ---- rms_norm.h

void rms_norm(const Tensor& x, const Tensor& scale, const Tensor& y, const Tensor& inverse_rms) {
  add_rms_norm(x, {}, {}, scale, y, inverse_rms);
}

void add_rms_norm(const Tensor& x, const Tensor& delta, const Tensor& sum, const Tensor& scale,
                  const Tensor& y, const Tensor& inverse_rms) {
  check_same_shape("rms_norm", x, y);
  run(__func__, x, cpu::add_rms_norm, x, delta, sum, scale, y, inverse_rms);
}

void rms_norm_backward(const Tensor& dy, const Tensor& x, const Tensor& scale,
                       const Tensor& inverse_rms, const Tensor& dx, const Tensor& dscale,
                       const Tensor& rounded) {
  check_same_shape("rms_norm_backward", dy, dx);
  if (rounded) check_same_shape("rms_norm_backward", rounded, dx);
  run(__func__, dy, cpu::rms_norm_backward, dy, x, scale, inverse_rms, dx, dscale, rounded);
}

// ---- sums.h

double sum(const Tensor& x) { return run_for(__func__, 0.0, x, cpu::sum, x); }

void sums_of_squares(std::span<const Tensor> rows, std::span<double> sums) {
  EYRIE_CHECK(rows.size() == sums.size(), "sums_of_squares: a sum per row");
  std::fill(sums.begin(), sums.end(), 0.0);
  if (!rows.empty()) run(__func__, rows[0], cpu::sums_of_squares, rows, sums);
}

double sum_of_squares(const Tensor& row) {
  double sum = 0;
  sums_of_squares({&row, 1}, {&sum, 1});
  return sum;
}

void sum_tree(std::span<const Tensor> parts, std::int64_t group) {
  if (!parts.empty()) run(__func__, parts[0], cpu::sum_tree, parts, group);
}

// ---- transfer.h

std::vector<float> to_host(const Tensor& matrix, std::span<const Element> elements) {
  std::vector<float> values(elements.size(), 0.0f);
  run(__func__, matrix, cpu::read_elements, matrix, elements, std::span<float>(values));
  return values;
}

}  // namespace eyrie::tensor
