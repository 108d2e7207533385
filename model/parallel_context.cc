// Which part of every dimension a rank has.
#include "model/parallel_context.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"

namespace eyrie::model {
namespace {

using parallel::Part;

// Equal slices, except the last ones, which may be shorter or empty.
Part slice_of(std::int64_t all, int ranks, int rank) {
  const std::int64_t each = (all + ranks - 1) / ranks, begin = std::min(all, each * rank);
  return {begin, std::min(each, all - begin)};
}

Part times(Part part, std::int64_t factor) { return {part.begin * factor, part.count * factor}; }

// The sizes that the number of tensor ranks must divide, with their names.
std::vector<std::pair<std::string, std::int64_t>> divided(const GriffinConfig& config) {
  std::vector<std::pair<std::string, std::int64_t>> all = {{"mlp_width", config.mlp_width}};
  if (config.layers.find_first_of("AG") != std::string::npos)
    all.push_back({"heads", config.heads});
  if (config.layers.find('R') != std::string::npos)
    all.push_back({"gate_blocks", config.gate_blocks});
  return all;
}

}  // namespace

LocalDims::LocalDims(const GriffinConfig& config, int rank, int ranks)
    : head_dim(config.head_dim()),
      width(config.width),
      keys(config.head_dim()),
      vocabulary(config.vocabulary, slice_of(config.vocabulary, ranks, rank)),
      rnn(config.rnn_width,
          times(slice_of(config.gate_blocks, ranks, rank), config.rnn_width / config.gate_blocks)),
      gate_blocks(config.gate_blocks, slice_of(config.gate_blocks, ranks, rank)),
      mlp(config.mlp_width, slice_of(config.mlp_width, ranks, rank)),
      heads(config.heads, slice_of(config.heads, ranks, rank)),
      queries(config.width, times(slice_of(config.heads, ranks, rank), config.head_dim())),
      gate_block(config.rnn_width / config.gate_blocks),
      tensor_rank(rank),
      tensor_ranks(ranks) {}

bool tensor_ranks_fit(const GriffinConfig& config, int tensor_ranks) {
  const auto all = divided(config);
  return std::all_of(all.begin(), all.end(),
                     [&](const auto& what) { return what.second % tensor_ranks == 0; });
}

void check_tensor_ranks(const GriffinConfig& config, int tensor_ranks) {
  if (tensor_ranks_fit(config, tensor_ranks)) return;
  std::vector<std::string> wrong, dims;
  for (const auto& [name, size] : divided(config)) {
    dims.push_back(fmt::format("{} {}", name, size));
    if (size % tensor_ranks != 0) wrong.push_back(dims.back());
  }
  // The divisors of the greatest common divisor of all sizes.
  std::int64_t common = 0;
  for (const auto& [name, size] : divided(config)) common = std::gcd(common, size);
  std::vector<std::int64_t> fitting;
  for (std::int64_t ranks = 1; ranks * ranks <= common; ++ranks) {
    if (common % ranks != 0) continue;
    fitting.push_back(ranks);
    if (ranks * ranks != common) fitting.push_back(common / ranks);
  }
  std::sort(fitting.begin(), fitting.end());
  throw base::InputError(fmt::format(
      "mesh.tensor {} does not divide {} of this model ({}): tensor ranks own whole heads and gate "
      "blocks. What divides: {}",
      tensor_ranks, fmt::join(wrong, " and "), fmt::join(dims, ", "), fmt::join(fitting, ", ")));
}

}  // namespace eyrie::model
