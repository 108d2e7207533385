// Weights in training.
#include "model/training_parameters.h"

#include <algorithm>

#include "base/error.h"
#include "model/initialization.h"

namespace eyrie::model {
namespace {

using parallel::ParameterInfo;
using tensor::DType;
using tensor::Tensor;

std::vector<parallel::UnitShard> whole_shards(const std::vector<parallel::Unit>& units) {
  std::vector<parallel::UnitShard> shards;
  for (const parallel::Unit& unit : units)
    shards.push_back({parallel::Cuts({0, unit.size}), 0, unit.size});
  return shards;
}

}  // namespace

TrainingParameters::TrainingParameters(std::vector<parallel::Unit> units, DType compute)
    : TrainingParameters(units, compute, whole_shards(units), false) {}

TrainingParameters::TrainingParameters(std::vector<parallel::Unit> units, DType compute,
                                       const std::vector<parallel::UnitShard>& shards, bool sharded,
                                       tensor::Device device)
    : Parameters(std::move(units), compute),
      ShardedWeights(Parameters::units_, compute, shards, sharded, device) {}

void TrainingParameters::store(std::size_t unit, int parameter, std::int64_t first,
                               std::span<const float> values) {
  const Tensor to =
      masters(unit).column_range(info(unit, parameter).offset + first, std::ssize(values));
  std::copy(values.begin(), values.end(), to.f32());
}

Weight TrainingParameters::matrix(std::size_t unit, int parameter, std::int64_t part) const {
  const Tensor whole = weight(unit, parameter);
  const std::int64_t rows = whole.rows() / info(unit, parameter).parts;
  return {whole.row_range(part * rows, rows), false};
}

Tensor TrainingParameters::weight(std::size_t unit, int parameter) const {
  const ParameterInfo& at = info(unit, parameter);
  if (!at.product) return shaped(at, whole_vector(unit, parameter));
  const Tensor whole = copy(unit);
  EYRIE_CHECK(whole, "a unit that is read without being gathered: " + at.name);
  return parameter_in(at, whole);
}

void TrainingParameters::initialise(std::uint64_t seed) {
  for_shards([&](std::size_t unit, const parallel::ParameterSpan& span) {
    initial_values(span.info, seed, span.begin - span.info.offset, span.count(),
                   masters(unit, span.begin, span.end).f32());
  });
  refresh_all();
}

}  // namespace eyrie::model
