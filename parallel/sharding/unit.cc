// Parameter units: layout, blocks and cuts.
#include "parallel/sharding/unit.h"

#include <algorithm>
#include <functional>
#include <numeric>

namespace eyrie::parallel {

namespace {

std::int64_t elements(const std::vector<std::int64_t>& axes) {
  return std::accumulate(axes.begin(), axes.end(), std::int64_t{1}, std::multiplies<>());
}

}  // namespace

std::int64_t ParameterInfo::count() const { return elements(extent); }
std::int64_t ParameterInfo::whole_count() const { return elements(shape); }

std::int64_t global_index(const ParameterInfo& row, std::int64_t index) {
  std::int64_t global = 0, stride = 1;
  for (std::size_t axis = row.shape.size(); axis-- > 0;) {
    global += (row.start[axis] + index % row.extent[axis]) * stride;
    index /= row.extent[axis];
    stride *= row.shape[axis];
  }
  return global;
}

int Unit::add(ParameterInfo row) {
  if (row.extent.empty()) {
    row.start.assign(row.shape.size(), 0);
    row.extent = row.shape;
  }
  row.offset = size;
  size += (row.count() + 15) / 16 * 16;  // 64 bytes
  parameters.push_back(std::move(row));
  return static_cast<int>(parameters.size()) - 1;
}

std::vector<ParameterSpan> spans_in(const Unit& unit, std::int64_t begin, std::int64_t end) {
  std::vector<ParameterSpan> spans;
  for (std::size_t i = 0; i < unit.parameters.size(); ++i) {
    const ParameterInfo& info = unit.parameters[i];
    const std::int64_t from = std::max(info.offset, begin),
                       to = std::min(info.offset + info.count(), end);
    if (from < to) spans.push_back({info, static_cast<int>(i), from, to});
  }
  return spans;
}

std::vector<UnitBlock> blocks_of(const Unit& unit) {
  std::vector<UnitBlock> blocks;
  for (std::size_t r = 0; r < unit.parameters.size(); ++r) {
    const std::int64_t count = unit.parameters[r].count();
    for (std::int64_t begin = 0; begin < count; begin += kBlockElements) {
      blocks.push_back({static_cast<int>(r), unit.parameters[r].offset + begin,
                        std::min(kBlockElements, count - begin)});
    }
  }
  return blocks;
}

std::int64_t cut_of(const Unit& unit, int ranks, int rank) {
  if (rank == 0) return 0;
  const auto blocks = [](const ParameterInfo& row) {
    return (row.count() + kBlockElements - 1) / kBlockElements;
  };
  std::int64_t count = 0;
  for (const ParameterInfo& row : unit.parameters) count += blocks(row);
  std::int64_t first = count * rank / ranks;
  for (const ParameterInfo& row : unit.parameters) {
    if (first < blocks(row)) return row.offset + first * kBlockElements;
    first -= blocks(row);
  }
  return unit.size;
}

std::vector<std::int64_t> cuts_of(const Unit& unit, int ranks) {
  std::vector<std::int64_t> cuts;
  for (int r = 0; r <= ranks; ++r) cuts.push_back(cut_of(unit, ranks, r));
  return cuts;
}

}  // namespace eyrie::parallel
