// Reads the parameters of a model from tensors with other names and layouts; shared by Hugging Face
// directories and official releases.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "model/weights/weight_names.h"

namespace eyrie::model {

// The tensors of one or several files, by their names in one naming scheme.
struct NamedTensors {
  std::string place;  // for messages
  std::map<std::string, std::vector<std::int64_t>> shapes;
  // Reads elements [first, first + count) of a tensor as fp32.
  std::function<void(const std::string& name, std::int64_t first, std::int64_t count, float* out)>
      read;
};

class NamedRows {
 public:
  // Throws InputError that lists which tensors of these parameters are missing, which have another
  // shape, and which belong to no parameter.
  NamedRows(NamedTensors tensors, Naming naming, const std::vector<parallel::ParameterInfo>& rows);

  // As WeightSource::read. Throws InputError if values are not finite, with the tensor's name and
  // how many of its values are not.
  void read(const parallel::ParameterInfo& info, std::int64_t first, std::int64_t count,
            float* out) const;

 private:
  void read_tensor(const NamedTensor& tensor, std::int64_t first, std::int64_t count,
                   float* out) const;
  void read_transposed(const NamedTensor& tensor, float* out) const;

  NamedTensors tensors_;
  Naming naming_;
  // The transposed tensor of which only a range was read last, kept because the next range is
  // probably from it too.
  mutable std::string kept_name_;
  mutable std::vector<float> kept_;
};

}  // namespace eyrie::model
