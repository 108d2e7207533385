// Where the weights of a model come from, element by element: a Hugging Face directory, an official
// release, a checkpoint, or the random numbers of an initialisation. What copies a model from one
// to another never holds more than one tensor.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/config.h"
#include "model/parameters.h"
#include "model/weights/stored_type.h"
#include "parallel/unit.h"

namespace eyrie::model {

// For one thread at a time; threads are used inside.
class WeightSource {
 public:
  virtual ~WeightSource() = default;
  virtual const GriffinConfig& config() const = 0;
  virtual StoredType type() const = 0;  // in which its weights are exact
  virtual std::string description() const = 0;

  // Elements [first, first + count) of a whole row of the model, in the row's own layout.
  // InputError where what comes from a file is no finite number.
  virtual void read(const parallel::ParameterRow& row, std::int64_t first, std::int64_t count,
                    float* out) const = 0;
};

// Fills parameters, of training (whole units, not sliced; then refreshes) or of inference.
void read_weights(const WeightSource& source, Parameters& parameters);
// One row of them; the caller refreshes.
void read_row(const WeightSource& source, std::size_t unit, int row, Parameters& parameters);

// The rows of a model, unit after unit. Whole tensors, nothing sliced.
std::vector<parallel::ParameterRow> rows_of(const GriffinConfig& config);

// How many elements are read at a time where a tensor need not be in memory as a whole.
constexpr std::int64_t kPieceElements = std::int64_t{1} << 22;

}  // namespace eyrie::model
