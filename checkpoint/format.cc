// The arithmetic of pieces: where flat ranges inside two rectangles overlap.
#include "checkpoint/format.h"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"

namespace eyrie::checkpoint {
namespace {

constexpr const char* kTypeNames[] = {"float32", "bfloat16", "int32", "uint8"};

// Turns a scalar into a tensor of one axis of length one.
TensorRange with_axis(const TensorRange& range) {
  if (!range.extent.empty()) return range;
  return {{0}, {1}, range.flat_begin, range.flat_count};
}

}  // namespace

const char* name_of(PieceType type) { return kTypeNames[static_cast<int>(type)]; }

PieceType piece_type_from(const std::string& name) {
  for (int i = 0; i < 4; ++i) {
    if (name == kTypeNames[i]) return static_cast<PieceType>(i);
  }
  throw base::InputError(fmt::format("\"{}\" is no dtype of a checkpoint", name));
}

base::Hdf5Type stored_type(PieceType type) {
  switch (type) {
    case PieceType::kFloat32:
      return base::Hdf5Type::kFloat32;
    case PieceType::kBFloat16:
      return base::Hdf5Type::kUint16;
    case PieceType::kInt32:
      return base::Hdf5Type::kInt32;
    case PieceType::kUint8:
      return base::Hdf5Type::kUint8;
  }
  return base::Hdf5Type::kUint8;
}

bool is_shape(const std::vector<std::int64_t>& axes) {
  std::int64_t bytes = 8;  // of the widest element
  for (const std::int64_t axis : axes) {
    if (axis < 0 || __builtin_mul_overflow(bytes, std::max<std::int64_t>(axis, 1), &bytes))
      return false;
  }
  return true;
}

std::int64_t elements_of(const std::vector<std::int64_t>& shape) {
  std::int64_t count = 1;
  for (const std::int64_t axis : shape) count *= axis;
  return count;
}

bool fits(const TensorRange& range, const std::vector<std::int64_t>& global_shape) {
  const std::size_t axes = global_shape.size();
  if (!is_shape(global_shape)) return false;
  if (range.start.size() != axes || range.extent.size() != axes) return false;
  for (std::size_t i = 0; i < axes; ++i) {
    if (range.start[i] < 0 || range.extent[i] < 0 || range.start[i] > global_shape[i] ||
        range.extent[i] > global_shape[i] - range.start[i]) {
      return false;
    }
  }
  const std::int64_t count = elements_of(range.extent);
  return range.flat_begin >= 0 && range.flat_count >= 0 && range.flat_begin <= count &&
         range.flat_count <= count - range.flat_begin;
}

std::string describe_piece(const std::string& name, PieceType type,
                           const std::vector<std::int64_t>& global_shape, const TensorRange& range,
                           const std::string& checksum) {
  return fmt::format("{} {} {} {} {} {} {} {}\n", name, name_of(type), global_shape, range.start,
                     range.extent, range.flat_begin, range.flat_count, checksum);
}

std::vector<Copy> copies_between(const TensorRange& source_range, const TensorRange& target_range) {
  const TensorRange source = with_axis(source_range);
  const TensorRange target = with_axis(target_range);
  std::vector<Copy> copies;
  if (source.flat_count == 0 || target.flat_count == 0) return copies;
  const std::size_t axes = source.extent.size();
  for (std::size_t i = 0; i < axes; ++i) {  // disjoint rectangles
    if (source.start[i] >= target.start[i] + target.extent[i] ||
        target.start[i] >= source.start[i] + source.extent[i]) {
      return copies;
    }
  }
  // Walks the source's rectangle row by row; a row is a run along the last axis.
  const std::int64_t width = source.extent.back();
  const std::int64_t target_width = target.extent.back();
  const std::int64_t source_end = source.flat_begin + source.flat_count;
  const std::int64_t target_end = target.flat_begin + target.flat_count;
  for (std::int64_t row = source.flat_begin / width; row * width < source_end; ++row) {
    // The row's other coordinates in the tensor give the number of the same row in the target's
    // rectangle.
    std::int64_t target_row = 0;
    std::int64_t rest = row;
    std::int64_t target_stride = 1;
    bool inside = true;
    for (std::size_t i = axes - 1; i-- > 0;) {
      const std::int64_t at = source.start[i] + rest % source.extent[i] - target.start[i];
      rest /= source.extent[i];
      inside = inside && at >= 0 && at < target.extent[i];
      target_row += at * target_stride;
      target_stride *= target.extent[i];
    }
    if (!inside) continue;
    // Shifts from flat positions to columns of the tensor. The overlap in columns follows: what the
    // source has of this row and the target wants of it.
    const std::int64_t source_shift = source.start.back() - row * width;
    const std::int64_t target_shift = target.start.back() - target_row * target_width;
    const std::int64_t begin = std::max({source.start.back(), source.flat_begin + source_shift,
                                         target.start.back(), target.flat_begin + target_shift});
    const std::int64_t end =
        std::min({source.start.back() + width, source_end + source_shift,
                  target.start.back() + target_width, target_end + target_shift});
    if (begin >= end) continue;
    const Copy copy{begin - source_shift - source.flat_begin,
                    begin - target_shift - target.flat_begin, end - begin};
    if (!copies.empty() && copies.back().from + copies.back().count == copy.from &&
        copies.back().to + copies.back().count == copy.to) {
      copies.back().count += copy.count;
    } else {
      copies.push_back(copy);
    }
  }
  return copies;
}

std::int64_t first_gap(std::vector<Copy>& copies, std::int64_t count) {
  std::sort(copies.begin(), copies.end(), [](const Copy& a, const Copy& b) { return a.to < b.to; });
  std::int64_t covered = 0;
  for (const Copy& copy : copies) {
    if (copy.to > covered) return covered;
    covered = std::max(covered, copy.to + copy.count);
  }
  return std::min(covered, count);
}

}  // namespace eyrie::checkpoint
