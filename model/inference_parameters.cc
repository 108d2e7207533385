// Weights as they are loaded, or mapped from a file.
#include "model/inference_parameters.h"

#include <utility>

#include "base/error.h"
#include "tensor/ops/elementwise.h"

namespace eyrie::model {

using parallel::ParameterInfo;
using tensor::DType;
using tensor::Tensor;

InferenceParameters::InferenceParameters(std::vector<parallel::Unit> units, DType compute,
                                         bool transposed)
    : Parameters(std::move(units), compute), transposed_(transposed) {
  for (const parallel::Unit& unit : units_) stored_.emplace_back(unit.parameters.size());
}

void InferenceParameters::store(std::size_t unit, int parameter, std::int64_t first,
                                std::span<const float> values) {
  const ParameterInfo& at = info(unit, parameter);
  Stored& stored = stored_[unit][static_cast<std::size_t>(parameter)];
  const DType dtype = stored_dtype(unit, parameter);
  const bool transposed = at.linear && transposed_;
  const std::int64_t rows = rows_of(at) / at.parts, columns = columns_of(at);
  const auto part_bytes = static_cast<std::size_t>(rows * columns * size_of(dtype));
  if (stored.parts.empty()) {
    stored.memory = tensor::Buffer(part_bytes * static_cast<std::size_t>(at.parts));
    for (std::int64_t part = 0; part < at.parts; ++part) {
      void* data = stored.memory.data() + static_cast<std::size_t>(part) * part_bytes;
      stored.parts.push_back(
          {transposed ? Tensor(data, dtype, columns, rows) : Tensor(data, dtype, rows, columns),
           transposed});
    }
  }
  const auto count = static_cast<std::int64_t>(values.size());
  EYRIE_CHECK(first >= 0 && first + count <= at.count(), "more elements than the row has");
  if (!transposed) {
    const Tensor from(const_cast<float*>(values.data()), DType::kFloat32, 1, count);
    tensor::convert(from, stored.memory.row(dtype).column_range(first, count));
    return;
  }
  EYRIE_CHECK(first % (rows * columns) == 0 && count % (rows * columns) == 0,
              "a linear layer's kernel comes whole");
  for (std::int64_t done = 0; done < count; done += rows * columns) {
    const Tensor from(const_cast<float*>(values.data()) + done, DType::kFloat32, rows, columns);
    tensor::transpose(
        from, stored.parts[static_cast<std::size_t>((first + done) / (rows * columns))].tensor);
  }
}

void InferenceParameters::map(std::size_t unit, int parameter, std::int64_t part, const void* data,
                              std::shared_ptr<const void> owner) {
  const ParameterInfo& at = info(unit, parameter);
  Stored& stored = stored_[unit][static_cast<std::size_t>(parameter)];
  EYRIE_CHECK(at.product, "only operands of products are mapped");
  const std::int64_t rows = rows_of(at) / at.parts, columns = columns_of(at);
  stored.parts.resize(static_cast<std::size_t>(at.parts));
  stored.parts[static_cast<std::size_t>(part)] = {
      at.linear ? Tensor(const_cast<void*>(data), compute_, columns, rows)
                : Tensor(const_cast<void*>(data), compute_, rows, columns),
      at.linear};
  if (owners_.empty() || owners_.back() != owner) owners_.push_back(std::move(owner));
}

Weight InferenceParameters::matrix(std::size_t unit, int parameter, std::int64_t part) const {
  const Stored& stored = stored_[unit][static_cast<std::size_t>(parameter)];
  EYRIE_CHECK(!stored.parts.empty(),
              "a weight that was never loaded: " + info(unit, parameter).name);
  return stored.parts[static_cast<std::size_t>(part)];
}

Tensor InferenceParameters::weight(std::size_t unit, int parameter) const {
  const ParameterInfo& at = info(unit, parameter);
  EYRIE_CHECK(at.parts == 1 && !at.linear, "matrix() gives this parameter: " + at.name);
  return matrix(unit, parameter).tensor;
}

}  // namespace eyrie::model
