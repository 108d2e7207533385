// Weights as they are loaded, or mapped from a file.
#include "model/inference_parameters.h"

#include <utility>

#include "base/error.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/int8.h"

namespace eyrie::model {

using parallel::ParameterInfo;
using tensor::DType;
using tensor::Tensor;

InferenceParameters::InferenceParameters(std::vector<parallel::Unit> units, DType compute,
                                         bool transposed, bool int8)
    : Parameters(std::move(units), compute), transposed_(transposed || int8), int8_(int8) {
  for (const parallel::Unit& unit : units_) stored_.emplace_back(unit.parameters.size());
}

void InferenceParameters::store(std::size_t unit, int parameter, std::int64_t first,
                                std::span<const float> values) {
  if (is_int8(unit, parameter)) return store_int8(unit, parameter, first, values);
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
           transposed,
           {},
           0});
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

// Part `part` of a parameter in int8, whose memory is allocated with its first one.
const Weight& InferenceParameters::int8_part(std::size_t unit, int parameter, std::int64_t part) {
  const ParameterInfo& at = info(unit, parameter);
  Stored& stored = stored_[unit][static_cast<std::size_t>(parameter)];
  if (stored.parts.empty()) {
    const std::int64_t in = rows_of(at) / at.parts, out = columns_of(at);
    const std::int64_t rows = at.linear ? out : in, columns = at.linear ? in : out;
    const std::int64_t block = at.linear ? columns : std::min(kEmbeddingBlock, columns),
                       scales = tensor::int8_scales(columns, block);
    stored.memory = tensor::Buffer(static_cast<std::size_t>(at.count()));
    stored.scales = tensor::Buffer(static_cast<std::size_t>(at.parts * rows * scales) * 4);
    for (std::int64_t p = 0; p < at.parts; ++p) {
      const Tensor q = stored.memory.view(DType::kInt8, rows, columns, p * rows * columns);
      stored.parts.push_back(
          {q, true, stored.scales.view(DType::kFloat32, rows, scales, p * rows * scales * 4),
           block});
    }
  }
  return stored.parts[static_cast<std::size_t>(part)];
}

// Rows of the embedding, or whole parts of a linear layer, which are turned to (out, in) first.
void InferenceParameters::store_int8(std::size_t unit, int parameter, std::int64_t first,
                                     std::span<const float> values) {
  const ParameterInfo& at = info(unit, parameter);
  const Weight& table = int8_part(unit, parameter, 0);
  const std::int64_t rows = table.tensor.rows(), columns = table.tensor.columns();
  const std::int64_t whole = at.linear ? rows * columns : columns;
  EYRIE_CHECK(first % whole == 0 && std::ssize(values) % whole == 0,
              "weights for int8 come in whole rows, those of a linear layer whole");
  float* const from = const_cast<float*>(values.data());
  if (!at.linear) {
    const std::int64_t row = first / columns, count = std::ssize(values) / columns;
    return tensor::quantize({from, DType::kFloat32, count, columns}, table.block,
                            table.tensor.row_range(row, count), table.scales.row_range(row, count));
  }
  const tensor::Buffer turned(static_cast<std::size_t>(whole) * sizeof(float));
  const Tensor matrix = turned.view(DType::kFloat32, rows, columns);
  for (std::int64_t done = 0; done < std::ssize(values); done += whole) {
    tensor::transpose({from + done, DType::kFloat32, columns, rows}, matrix);
    quantize(unit, parameter, (first + done) / whole, matrix);
  }
}

void InferenceParameters::quantize(std::size_t unit, int parameter, std::int64_t part,
                                   const Tensor& matrix) {
  const Weight& to = int8_part(unit, parameter, part);
  tensor::quantize(matrix, to.block, to.tensor, to.scales);
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
      at.linear,
      {},
      0};
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
