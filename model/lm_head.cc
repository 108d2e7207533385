// Logits and their loss, in chunks of rows.
#include "model/lm_head.h"

#include "base/error.h"
#include "tensor/ops/cross_entropy.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/matmul.h"
#include "tensor/ops/positions.h"

namespace eyrie::model {

using tensor::DType;
using tensor::Tensor;

namespace {

// The embedding as the head's weights: (out, in).
Weight table_of(const Parameters& parameters) {
  Weight table = parameters.matrix(0, 0);
  table.transposed = true;
  return table;
}

}  // namespace

void LmHead::logits(const Parameters& parameters, const Tensor& hidden, const Tensor& out,
                    bool capped, bool decode) const {
  if (context_.tensor_ranks() == 1) {
    make_products({{hidden, table_of(parameters), {}, out}}, decode);
  } else {
    split_logits(parameters, hidden, out, decode);
  }
  if (capped && config_.soft_cap > 0) tensor::soft_cap(out, static_cast<float>(config_.soft_cap));
}

// All-gathers every rank's columns one after the other, then copies them side by side.
void LmHead::split_logits(const Parameters& parameters, const Tensor& hidden, const Tensor& out,
                          bool decode) const {
  const int ranks = context_.tensor_ranks();
  const std::int64_t rows = hidden.rows();
  const auto part_of = [&](int rank) { return LocalDims(config_, rank, ranks).vocabulary.part; };
  const std::int64_t each = rows * part_of(0).count;  // the first slice is the longest
  const tensor::Buffer memory(static_cast<std::size_t>((ranks + 1) * each) * sizeof(float),
                              hidden.device());
  const Tensor all = memory.view(DType::kFloat32, ranks, each);
  const Tensor mine = memory.row().column_range(ranks * each, each);
  const auto columns = [&](const Tensor& row, std::int64_t count) {
    return row.column_range(0, rows * count).reshaped(rows, count);
  };
  const Tensor own = columns(mine, dims_.vocabulary.local());
  if (own.columns() > 0) make_products({{hidden, table_of(parameters), {}, own}}, decode);
  parallel::all_gather_rows(*context_.tensor, mine, all);
  for (int rank = 0; rank < ranks; ++rank) {
    const parallel::Part part = part_of(rank);
    tensor::copy(columns(all.row_range(rank, 1), part.count),
                 out.column_range(part.begin, part.count));
  }
}

Tensor LmHead::nll(ForwardPass& forward, const Targets& targets) const {
  Pass& pass = forward.pass;
  const Tensor nll = pass.scratch.allocate(DType::kFloat32, 1, pass.tokens());
  const tensor::ArenaScope scope(pass.scratch);
  run_chunks(forward, tensor_parallel_.all_rows(forward.hidden, pass), targets, 0, nll, {}, {});
  return nll;
}

Tensor LmHead::nll(ForwardPass& forward, const Targets& targets, float gradient_scale,
                   const Tensor& dtable, const Tensor& dhidden) const {
  Pass& pass = forward.pass;
  const Tensor nll = pass.scratch.allocate(DType::kFloat32, 1, pass.tokens());
  const tensor::ArenaScope scope(pass.scratch);
  const Tensor partial_sums = tensor_parallel_.partial_sums(dhidden, pass);
  run_chunks(forward, tensor_parallel_.all_rows(forward.hidden, pass), targets, gradient_scale, nll,
             dtable, partial_sums);
  tensor_parallel_.reduce(partial_sums, dhidden, pass, pass.compute);
  return nll;
}

// With `dtable` also computes the gradients, `dhidden` as this rank's partial sum of all rows.
void LmHead::run_chunks(ForwardPass& forward, const Tensor& hidden, const Targets& targets,
                        float gradient_scale, const Tensor& nll, const Tensor& dtable,
                        const Tensor& dhidden) const {
  Pass& pass = forward.pass;
  const std::int64_t n = pass.tokens(), vocabulary = dims_.vocabulary.local();
  const std::int64_t rows = std::min(n, logit_rows(config_.vocabulary));
  const Tensor table = pass.parameters.weight(0, 0);
  const Targets own{forward.own_piece(targets.ids), forward.own_piece(targets.weights)};
  EYRIE_CHECK(tensor::all_in_range(own.ids, config_.vocabulary, own.weights),
              "a target outside of the model's vocabulary");
  const Tensor logits = pass.scratch.allocate(DType::kFloat32, rows, vocabulary);
  // In place: a row of gradients in the compute dtype takes the first bytes of the row of logits.
  const std::int64_t stride = vocabulary * size_of(DType::kFloat32) / size_of(pass.compute);
  const Tensor dlogits =
      !dtable ? Tensor()
              : Tensor(logits.data(), pass.compute, rows, vocabulary, stride, logits.device());
  for (std::int64_t begin = 0; begin < n; begin += rows) {
    const std::int64_t count = std::min(rows, n - begin);
    const auto here = [&](const Tensor& row) { return row.column_range(begin, count); };
    const Tensor chunk = hidden.row_range(begin, count), out = logits.row_range(0, count);
    tensor::matmul(chunk, table, out, {.transpose_b = true});
    const Tensor dout = !dtable ? Tensor() : dlogits.row_range(0, count);
    cross_entropy(pass, out, {here(own.ids), here(own.weights)}, here(nll), dout, gradient_scale);
    if (!dtable) continue;
    tensor::matmul(dout, table, dhidden.row_range(begin, count));
    tensor::matmul(dout, chunk, dtable, {.transpose_a = true, .accumulate = begin > 0});
  }
}

void LmHead::cross_entropy(Pass& pass, const Tensor& logits, const Targets& targets,
                           const Tensor& nll, const Tensor& dlogits, float gradient_scale) const {
  const auto cap = static_cast<float>(config_.soft_cap);
  const auto& [ids, weights] = targets;
  if (context_.tensor_ranks() == 1)
    return tensor::cross_entropy(logits, ids, weights, cap, nll, dlogits, gradient_scale);
  const tensor::ArenaScope scope(pass.scratch);
  const std::int64_t first = dims_.vocabulary.part.begin, count = logits.rows();
  const Tensor sums = pass.scratch.allocate(DType::kFloat32, count, 3);
  const Tensor all = pass.scratch.allocate(DType::kFloat32, context_.tensor_ranks(), 3 * count);
  tensor::cross_entropy_sums(logits, ids, first, cap, sums);
  parallel::all_gather_rows(*context_.tensor, sums.reshaped(1, 3 * count), all);
  tensor::cross_entropy_split(logits, ids, weights, first, cap, all, nll, dlogits, gradient_scale);
}

}  // namespace eyrie::model
