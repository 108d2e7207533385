// The rows of a model out of tensors that others named and laid out: what Hugging Face directories
// and official releases share.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "model/weights/weight_names.h"

namespace eyrie::model {

// Tensors of one file or several, by the names of a naming.
struct NamedTensors {
  std::string place;  // for messages
  std::map<std::string, std::vector<std::int64_t>> shapes;
  // Elements [first, first + count) of a tensor, as fp32.
  std::function<void(const std::string& name, std::int64_t first, std::int64_t count, float* out)>
      read;
};

class NamedRows {
 public:
  // InputError that lists which tensors of these rows are missing, which are of another shape, and
  // which no row takes.
  NamedRows(NamedTensors tensors, Naming naming, const std::vector<parallel::ParameterRow>& rows);

  // As WeightSource::read. InputError: values that are not finite, with the tensor's name and how
  // many of its values are not.
  void read(const parallel::ParameterRow& row, std::int64_t first, std::int64_t count,
            float* out) const;

 private:
  void read_tensor(const NamedTensor& tensor, std::int64_t first, std::int64_t count,
                   float* out) const;
  void read_transposed(const NamedTensor& tensor, float* out) const;

  NamedTensors tensors_;
  Naming naming_;
  // The transposed tensor of which only a range was wanted last: the next range is likely of it.
  mutable std::string kept_name_;
  mutable std::vector<float> kept_;
};

}  // namespace eyrie::model
