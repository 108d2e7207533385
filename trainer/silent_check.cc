// The comparison of gradients between ranks.
#include "trainer/silent_check.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>

#include "base/error.h"
#include "base/file.h"
#include "parallel/sharding/gradient_sum.h"

namespace eyrie::trainer {
namespace {

std::int64_t largest_other(const std::vector<parallel::Unit>& units) {
  std::int64_t most = 0;
  for (std::size_t u = 1; u < units.size(); ++u) most = std::max(most, units[u].size);
  return most;
}

// How many data ranks compute each micro-shard: three tell who is wrong.
int copies_of(int data_ranks) { return std::clamp(data_ranks, 2, 3); }

}  // namespace

GradientDigest::GradientDigest(const std::vector<parallel::Unit>& units, tensor::Device device)
    : units_(units),
      embedding_(static_cast<std::size_t>(units[0].size) * 4, device),
      other_(static_cast<std::size_t>(largest_other(units)) * 4, device),
      open_(units.size()) {}

std::int64_t GradientDigest::bytes(const std::vector<parallel::Unit>& units) {
  return 4 * (units[0].size + largest_other(units));
}

tensor::Tensor GradientDigest::gradient(std::size_t unit) {
  const bool is_embedding = unit == 0;
  tensor::Buffer& buffer = is_embedding ? embedding_ : other_;
  const bool is_open = is_embedding ? embedding_open_ : open_ == unit;
  if (!is_open) buffer.zero();
  (is_embedding ? embedding_open_ = true : open_ = unit);
  return buffer.row().column_range(0, units_[unit].size);
}

void GradientDigest::finished(std::size_t unit) {
  const tensor::Tensor all = gradient(unit);
  hash_->add(std::as_bytes(std::span(all.f32(), static_cast<std::size_t>(all.count()))));
  if (unit == 0) {
    embedding_open_ = false;
  } else {
    open_ = units_.size();
  }
}

std::uint64_t GradientDigest::take() {
  const std::uint64_t value = hash_->value();
  hash_ = std::make_unique<base::Hasher>();
  return value;
}

std::string disagreement(const std::vector<Digests>& digests, const parallel::MeshShape& shape,
                         const std::vector<std::string>& hosts) {
  const int data = shape.data, inner = shape.context * shape.tensor, copies = copies_of(data);
  const auto name = [&](int rank) {
    return fmt::format("rank {} (on {})", rank, hosts[static_cast<std::size_t>(rank)]);
  };
  std::map<int, int> alone;  // rank → in how many comparisons it differs from two that agree
  std::vector<std::string> unsettled;
  for (int place = 0; place < inner; ++place) {  // context and tensor ranks have their own pieces
    for (int owner = 0; owner < data; ++owner) {
      std::vector<int> ranks;
      std::vector<std::uint64_t> values;
      for (int copy = 0; copy < copies; ++copy) {
        const int computer = ((owner - copy) % data + data) % data;
        ranks.push_back(computer * inner + place);
        values.push_back(
            digests[static_cast<std::size_t>(ranks.back())][static_cast<std::size_t>(copy)]);
      }
      if (std::all_of(values.begin(), values.end(), [&](auto v) { return v == values[0]; }))
        continue;
      bool settled = false;
      for (std::size_t i = 0; i < values.size() && values.size() == 3; ++i) {
        if (values[(i + 1) % 3] != values[(i + 2) % 3]) continue;
        ++alone[ranks[i]];
        settled = true;
      }
      if (settled) continue;
      std::vector<std::string> names;
      for (const int rank : ranks)
        if (names.empty() || names.back() != name(rank)) names.push_back(name(rank));
      unsettled.push_back(fmt::format("{}", fmt::join(names, " and ")));
    }
  }
  std::vector<std::string> found;
  for (const auto& [rank, times] : alone)
    found.push_back(fmt::format("{} differs from two others in {} of its {} comparisons",
                                name(rank), times, copies));
  if (!found.empty()) return fmt::format("{}", fmt::join(found, "; "));
  if (unsettled.empty()) return "";
  if (data == 1)
    return fmt::format("{} computed the same gradients twice, with different results",
                       fmt::join(unsettled, "; "));
  return fmt::format("{} differ, and no third tells which is wrong", unsettled.front());
}

std::string check_gradients(const Objective& objective, const model::Griffin& griffin,
                            const model::Parameters& parameters, const parallel::Mesh& mesh,
                            const data_pipeline::BatchStream& stream, std::int64_t micro_shards,
                            std::int64_t batch, model::Workspace& workspace) {
  const parallel::StepPlan plan(micro_shards, mesh.shape());
  const int data = mesh.shape().data;
  GradientDigest digest(griffin.units(), parameters.device());
  Digests own;
  for (int copy = 0; copy < copies_of(data); ++copy) {
    const std::int64_t m = plan.micro_shard((mesh.data_rank() + copy) % data, 0);
    const data_pipeline::Batch rows = stream.micro_shard(batch, m);
    objective.run(griffin, parameters, rows, workspace, 1.0f, digest);
    own.push_back(digest.take());
  }
  const auto all = mesh.world().all_gather_values(std::span<const std::uint64_t>(own));
  return disagreement(all, mesh.shape(), mesh.world().all_gather(base::host_name()));
}

}  // namespace eyrie::trainer
