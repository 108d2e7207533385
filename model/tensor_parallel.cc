// Gathers and reductions of the residual stream's rows over tensor ranks.
#include "model/tensor_parallel.h"

namespace eyrie::model {

using tensor::DType;
using tensor::Tensor;

std::int64_t TensorParallel::stream_rows(const Pass& pass) const {
  if (!splits_rows()) return pass.tokens();
  return parallel::part_of(pass.tokens(), context_.tensor_ranks(), context_.tensor_rank()).count;
}

Tensor TensorParallel::all_rows(const Tensor& own, Pass& pass) const {
  if (!splits_rows()) return own;
  const Tensor all = pass.scratch.allocate(own.dtype(), pass.tokens(), own.columns());
  parallel::all_gather_rows(*context_.tensor, own, all);
  return all;
}

Tensor TensorParallel::partial_sums(const Tensor& own, Pass& pass) const {
  if (!splits_rows()) return own;
  return pass.scratch.allocate(DType::kFloat32, pass.tokens(), own.columns());
}

void TensorParallel::reduce(const Tensor& partial_sums, const Tensor& own, Pass& pass,
                            DType comm_dtype) const {
  if (context_.tensor_ranks() == 1) return;
  if (splits_rows()) {
    parallel::reduce_scatter_rows(*context_.tensor, partial_sums, own, comm_dtype, pass.scratch);
  } else {
    parallel::all_reduce_rows(*context_.tensor, own, comm_dtype, pass.scratch);
  }
}

}  // namespace eyrie::model
