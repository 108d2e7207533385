// A source of a model's weights, element by element: a Hugging Face directory, an official release,
// a checkpoint, or random initialisation. Code that copies a model never holds more than one
// tensor.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/config.h"
#include "model/parameters.h"
#include "model/weights/stored_type.h"
#include "parallel/sharding/unit.h"

namespace eyrie::model {

// Not thread-safe; uses threads inside.
class WeightSource {
 public:
  virtual ~WeightSource() = default;
  virtual const GriffinConfig& config() const = 0;
  virtual StoredType type() const = 0;  // the type that holds its weights exactly
  virtual std::string description() const = 0;

  // Reads elements [first, first + count) of a whole parameter of the model, in the parameter's own
  // layout. Throws InputError if values from a file are not finite.
  virtual void read(const parallel::ParameterInfo& info, std::int64_t first, std::int64_t count,
                    float* out) const = 0;
};

// Fills parameters for training (whole units, not sliced; then refreshes them) or for inference.
void read_weights(const WeightSource& source, Parameters& parameters);
// Fills one parameter; the caller refreshes.
void read_parameter(const WeightSource& source, std::size_t unit, int parameter,
                    Parameters& parameters);

// Returns the parameters of a model, unit after unit. Whole tensors, nothing sliced.
std::vector<parallel::ParameterInfo> rows_of(const GriffinConfig& config);

// How many elements are read at a time where the whole tensor need not be in memory.
constexpr std::int64_t kPieceElements = std::int64_t{1} << 22;

}  // namespace eyrie::model
