// One group of layers.h5: parameters, inputs, outputs and gradients of a single layer by the
// official code.
#pragma once

#include <string>
#include <vector>

#include "support/arrays.h"
#include "support/fixture.h"

namespace eyrie::test {

constexpr double kLayerTolerance = 5e-6;  // of the largest value

class LayerFixture {
 public:
  explicit LayerFixture(const std::string& group)
      : file_(fixtures() / "layers.h5"), group_(group + "/") {}

  const Fixture& file() const { return file_; }
  bool has(const std::string& name) const { return file_.has(group_ + name); }
  std::vector<std::int64_t> shape(const std::string& name) const {
    return file_.shape(group_ + name);
  }
  std::vector<double> values(const std::string& name) const {
    const std::vector<float> read = file_.floats(group_ + name);
    return {read.begin(), read.end()};
  }
  // fp32, of all dimensions but the last, and the last.
  Array array(const std::string& name) const {
    const std::vector<float> read = file_.floats(group_ + name);
    const std::int64_t columns = shape(name).back();
    return Array::of(DType::kFloat32, static_cast<std::int64_t>(read.size()) / columns, columns,
                     read);
  }
  // fp32, one row.
  Array row(const std::string& name) const {
    const std::vector<float> read = file_.floats(group_ + name);
    return Array::of(DType::kFloat32, 1, static_cast<std::int64_t>(read.size()), read);
  }
  std::vector<std::int32_t> ints(const std::string& name) const {
    return file_.ints(group_ + name);
  }

 private:
  Fixture file_;
  std::string group_;
};

}  // namespace eyrie::test
