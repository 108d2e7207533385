// Between the residual stream and the blocks. With sequence parallelism each tensor rank has some
// of the stream's rows (Korthikanti et al. 2022); blocks read all rows, and write partial sums of
// all rows in fp32. With one tensor rank nothing happens here. Collective over the tensor ranks.
#pragma once

#include <cstdint>

#include "model/layers.h"
#include "model/parallel_context.h"

namespace eyrie::model {

class TensorParallel {
 public:
  explicit TensorParallel(const ParallelContext& context) : context_(context) {}

  // How many rows of the stream this rank has.
  std::int64_t stream_rows(const Pass& pass) const;
  // Returns all rows of `own` (stream_rows, C); `own` itself if this rank has them all.
  tensor::Tensor all_rows(const tensor::Tensor& own, Pass& pass) const;
  // Returns where a block writes its partial sums (n, C) fp32, which reduce() sums into `own`.
  tensor::Tensor partial_sums(const tensor::Tensor& own, Pass& pass) const;
  void reduce(const tensor::Tensor& partial_sums, const tensor::Tensor& own, Pass& pass,
              tensor::DType comm_dtype) const;

 private:
  bool splits_rows() const { return context_.sequence && context_.tensor_ranks() > 1; }
  ParallelContext context_;
};

}  // namespace eyrie::model
