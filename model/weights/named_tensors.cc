// Checks names and shapes, and reads parameters from tensors of other layouts.
#include "model/weights/named_tensors.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/error.h"
#include "model/weights/finite.h"
#include "model/weights/weight_source.h"
#include "tensor/ops/elementwise.h"

namespace eyrie::model {
namespace {

// "3 tensors missing: a, b, c"; only the first few of many.
std::string listing(const std::vector<std::string>& items, const std::string& what) {
  constexpr std::size_t kMost = 12;
  std::vector<std::string> first(items.begin(),
                                 items.begin() + static_cast<long>(std::min(items.size(), kMost)));
  if (items.size() > kMost) first.push_back(fmt::format("and {} more", items.size() - kMost));
  return fmt::format("{} {} {}: {}", items.size(), items.size() == 1 ? "tensor" : "tensors", what,
                     fmt::join(first, ", "));
}

}  // namespace

NamedRows::NamedRows(NamedTensors tensors, Naming naming,
                     const std::vector<parallel::ParameterInfo>& rows)
    : tensors_(std::move(tensors)), naming_(naming) {
  std::vector<std::string> missing, misshapen, surplus;
  auto left = tensors_.shapes;
  for (const auto& info : rows) {
    for (const NamedTensor& tensor : tensors_of(info, naming_)) {
      const auto found = left.find(tensor.name);
      if (found == left.end()) {
        missing.push_back(tensor.name);
        continue;
      }
      if (found->second != tensor.shape) {
        misshapen.push_back(fmt::format("{} is ({}) in place of ({})", tensor.name,
                                        fmt::join(found->second, ", "),
                                        fmt::join(tensor.shape, ", ")));
      }
      left.erase(found);
    }
  }
  for (const auto& [name, shape] : left) surplus.push_back(name);
  std::vector<std::string> wrong;
  if (!missing.empty()) wrong.push_back(listing(missing, "missing"));
  if (!misshapen.empty()) wrong.push_back(listing(misshapen, "of another shape"));
  if (!surplus.empty()) wrong.push_back(listing(surplus, "that this model does not have"));
  if (!wrong.empty()) {
    throw base::InputError(fmt::format("{}: the weights are not those of the configuration: {}",
                                       tensors_.place, fmt::join(wrong, "; ")));
  }
}

void NamedRows::read(const parallel::ParameterInfo& info, std::int64_t first, std::int64_t count,
                     float* out) const {
  for (const NamedTensor& tensor : tensors_of(info, naming_)) {
    const std::int64_t elements = tensor.count(), begin = tensor.part * elements;
    const std::int64_t from = std::max(first, begin),
                       to = std::min(first + count, begin + elements);
    if (from >= to) continue;
    float* to_here = out + (from - first);
    if (!tensor.transposed) {
      read_tensor(tensor, from - begin, to - from, to_here);
    } else if (to - from == elements) {
      read_transposed(tensor, to_here);
    } else {
      if (kept_name_ != tensor.name) {
        kept_name_.clear();
        kept_.resize(static_cast<std::size_t>(elements));
        read_transposed(tensor, kept_.data());
        kept_name_ = tensor.name;
      }
      std::copy_n(kept_.data() + (from - begin), to - from, to_here);
    }
  }
}

void NamedRows::read_tensor(const NamedTensor& tensor, std::int64_t first, std::int64_t count,
                            float* out) const {
  tensors_.read(tensor.name, first, count, out);
  check_finite(tensors_.place, tensor.name, out, count, tensor.count(), [&] {
    std::vector<float> piece(static_cast<std::size_t>(std::min(tensor.count(), kPieceElements)));
    std::int64_t found = 0;
    for (std::int64_t begin = 0; begin < tensor.count(); begin += kPieceElements) {
      const std::int64_t some = std::min(kPieceElements, tensor.count() - begin);
      tensors_.read(tensor.name, begin, some, piece.data());
      found += count_not_finite(piece.data(), some);
    }
    return found;
  });
}

// A few rows of the tensor at a time become columns of the parameter.
void NamedRows::read_transposed(const NamedTensor& tensor, float* out) const {
  const std::int64_t rows = tensor.shape.front(), columns = tensor.count() / rows;
  const std::int64_t step = std::clamp<std::int64_t>(kPieceElements / columns, 1, rows);
  std::vector<float> piece(static_cast<std::size_t>(step * columns));
  for (std::int64_t r = 0; r < rows; r += step) {
    const std::int64_t some = std::min(step, rows - r);
    read_tensor(tensor, r * columns, some * columns, piece.data());
    tensor::transpose({piece.data(), tensor::DType::kFloat32, some, columns},
                      {out + r, tensor::DType::kFloat32, columns, some, rows});
  }
}

}  // namespace eyrie::model
