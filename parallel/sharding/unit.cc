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

std::int64_t global_index(const ParameterInfo& info, std::int64_t index) {
  std::int64_t global = 0, stride = 1;
  for (std::size_t axis = info.shape.size(); axis-- > 0;) {
    global += (info.start[axis] + index % info.extent[axis]) * stride;
    index /= info.extent[axis];
    stride *= info.shape[axis];
  }
  return global;
}

int Unit::add(ParameterInfo info) {
  if (info.extent.empty()) {
    info.start.assign(info.shape.size(), 0);
    info.extent = info.shape;
  }
  info.offset = size;
  size += (info.count() + 15) / 16 * 16;  // 64 bytes
  parameters.push_back(std::move(info));
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

namespace {

std::int64_t blocks(const ParameterInfo& info) {
  return (info.count() + kBlockElements - 1) / kBlockElements;
}

std::int64_t cut_of(const Unit& unit, int ranks, int rank) {
  std::int64_t count = 0;
  for (const ParameterInfo& info : unit.parameters) count += blocks(info);
  std::int64_t first = count * rank / ranks;
  for (const ParameterInfo& info : unit.parameters) {
    if (first < blocks(info)) return info.offset + first * kBlockElements;
    first -= blocks(info);
  }
  return unit.size;
}

}  // namespace

Cuts cuts_of(const Unit& unit, int ranks) {
  return {ranks, [&unit, ranks](int rank) { return rank == 0 ? 0 : cut_of(unit, ranks, rank); }};
}

}  // namespace eyrie::parallel
