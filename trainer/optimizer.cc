// AdamW over parameter units.
#include "trainer/optimizer.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "model/weights/finite.h"
#include "tensor/ops/adamw.h"
#include "tensor/ops/sums.h"

namespace eyrie::trainer {

using parallel::ParameterInfo;
using parallel::UnitShard;

model::TrainingParameters make_parameters(const std::vector<parallel::Unit>& units,
                                          tensor::DType compute, const parallel::Mesh& mesh,
                                          tensor::Device device) {
  return {units, compute, parallel::shards_of(units, mesh),
          mesh.shape().zero == 3 && mesh.shard_group().size() > 1, device};
}

Optimizer::Optimizer(const OptimizerConfig& config, model::TrainingParameters& parameters,
                     const parallel::Mesh& mesh)
    : config_(config),
      parameters_(parameters),
      mesh_(mesh),
      shards_(parallel::shards_of(parameters.units(), mesh)),
      gradients_(parameters.units(), mesh, parameters.device()),
      parameter_shards_(parameters, mesh, shards_) {
  for (const UnitShard& shard : shards_) {
    const auto bytes = static_cast<std::size_t>(shard.size()) * sizeof(float);
    moments_.push_back(
        {tensor::Buffer(bytes, parameters.device()), tensor::Buffer(bytes, parameters.device())});
  }
  reset_moments();
  queue_.reset(new parallel::ExchangeQueue({&mesh.shard_group(), &mesh.replicate_group()},
                                           parameters.device() != tensor::Device::kMeta));
  gradients_.attach(*queue_);
  parameter_shards_.attach(*queue_);
}

Optimizer::~Optimizer() = default;

void Optimizer::reset_moments() {
  updates_ = 0;
  for (Moments& moments : moments_) {
    moments.first.zero();
    moments.second.zero();
  }
}

void Optimizer::begin(const parallel::StepPlan& plan) { gradients_.begin(plan); }

double Optimizer::grad_norm() {
  gradients_.finish();
  double total = squares_of_column();
  mesh_.tensor().all_reduce(std::span<double>(&total, 1), parallel::Reduce::kSum);
  return std::sqrt(total);
}

// Returns the sum of squares over all shards of this tensor rank's slice, in the order of the
// blocks.
double Optimizer::squares_of_column() {
  if (parameters_.device() == tensor::Device::kMeta) return 0;
  const bool counts_shared = mesh_.tensor_rank() == 0;
  std::vector<tensor::Tensor> blocks;  // an empty one counts elsewhere
  for (std::size_t u = 0; u < shards_.size(); ++u) {
    const UnitShard& shard = shards_[u];
    const tensor::Tensor sum = gradients_.part(u);
    parallel::for_blocks(
        parameters_.units()[u], shard.begin, shard.end, [&](const parallel::ParameterSpan& block) {
          const bool counted = counts_shared || !block.info.replicated();
          blocks.push_back(
              sum.column_range(block.begin - shard.begin, counted ? block.count() : 0));
        });
  }
  std::vector<double> own(blocks.size());
  tensor::sums_of_squares(blocks, own);
  double total = 0;
  if (mesh_.shape().zero == 0 || mesh_.shard_group().size() == 1) {
    for (const double square : own) total += square;
    return total;
  }
  const auto all = mesh_.shard_group().all_gather_values<double>(own);
  std::vector<std::size_t> taken(all.size(), 0);
  for (std::size_t u = 0; u < shards_.size(); ++u) {
    const parallel::Cuts& cuts = shards_[u].cuts;
    for (int rank = 0; rank < cuts.ranks(); ++rank) {
      const auto r = static_cast<std::size_t>(rank);
      parallel::for_blocks(parameters_.units()[u], cuts[rank], cuts[rank + 1],
                           [&](const auto&) { total += all[r][taken[r]++]; });
    }
  }
  return total;
}

// Each element is counted by the rank that writes it to checkpoints.
std::vector<std::pair<std::string, double>> Optimizer::grad_norms() {
  std::vector<std::pair<std::string, double>> norms;
  std::vector<double> squares;
  const int shard_rank = mesh_.shard_group().rank();
  for (std::size_t u = 0; u < shards_.size(); ++u) {
    const parallel::Unit& unit = parameters_.units()[u];
    const std::size_t first = squares.size();
    for (const ParameterInfo& info : unit.parameters) norms.emplace_back(info.name, 0.0);
    squares.resize(norms.size(), 0.0);
    const parallel::Cuts& cuts = shards_[u].cuts;
    for (const auto& span : parallel::spans_in(unit, cuts[shard_rank], cuts[shard_rank + 1])) {
      if (mesh_.replica() != 0 || (span.info.replicated() && mesh_.tensor_rank() != 0)) continue;
      squares[first + static_cast<std::size_t>(span.index)] += tensor::sum_of_squares(
          gradients_.part(u).column_range(span.begin - shards_[u].begin, span.count()));
    }
  }
  mesh_.world().all_reduce(std::span<double>(squares), parallel::Reduce::kSum);
  for (std::size_t i = 0; i < norms.size(); ++i) norms[i].second = std::sqrt(squares[i]);
  return norms;
}

void Optimizer::step(double learning_rate, double grad_norm) {
  ++updates_;
  const bool clipped = config_.clip > 0 && grad_norm > config_.clip;
  tensor::AdamWStep step{static_cast<float>(learning_rate),
                         static_cast<float>(config_.beta1),
                         static_cast<float>(config_.beta2),
                         static_cast<float>(config_.epsilon),
                         0.0f,
                         clipped ? static_cast<float>(config_.clip / grad_norm) : 1.0f,
                         updates_};
  for (std::size_t u = 0; u < shards_.size(); ++u) {
    const UnitShard& shard = shards_[u];
    const tensor::Tensor sum = gradients_.part(u), first = moments_[u].first.row(),
                         second = moments_[u].second.row();
    for (const auto& span : parallel::spans_in(parameters_.units()[u], shard.begin, shard.end)) {
      const ParameterInfo& info = span.info;
      step.weight_decay =
          info.weight_decay || config_.decay_all ? static_cast<float>(config_.weight_decay) : 0.0f;
      const auto here = [&](const tensor::Tensor& all) {
        return all.column_range(span.begin - shard.begin, span.count());
      };
      tensor::adamw(parameters_.masters(u, span.begin, span.end), here(sum), here(first),
                    here(second), step);
    }
    parameter_shards_.all_gather_parameters(u);
  }
  parameter_shards_.finish_all_gather();
}

parallel::AxisBytes Optimizer::bytes_sent() const {
  return {queue_->communicator(0).bytes_sent(), queue_->communicator(1).bytes_sent(),
          mesh_.context().bytes_sent(), mesh_.tensor().bytes_sent()};
}

Optimizer::Bytes Optimizer::bytes() const {
  Bytes bytes{0, gradients_.bytes(), parameter_shards_.gathered_bytes(),
              gradients_.exchange_bytes() + parameter_shards_.exchange_bytes()};
  for (const Moments& moments : moments_)
    bytes.moments += static_cast<std::int64_t>(moments.first.size() + moments.second.size());
  return bytes;
}

// What several ranks hold is written by one: replicated parameters by the first tensor rank, each
// unit by one replica in turn, and within a shard group by the cuts, whoever updates it.
std::vector<checkpoint::TensorPiece> Optimizer::checkpoint_pieces() const {
  std::vector<checkpoint::TensorPiece> pieces;
  const auto replicas = static_cast<std::size_t>(mesh_.shape().replicas);
  const int shard_rank = mesh_.shard_group().rank();
  for (std::size_t u = 0; u < shards_.size(); ++u) {
    if (u % replicas != static_cast<std::size_t>(mesh_.replica())) continue;
    const parallel::Cuts& cuts = shards_[u].cuts;
    for (const auto& span :
         parallel::spans_in(parameters_.units()[u], cuts[shard_rank], cuts[shard_rank + 1])) {
      const ParameterInfo& info = span.info;
      const std::int64_t from = span.begin, to = span.end;
      if (info.replicated() && mesh_.tensor_rank() != 0) continue;
      const auto piece = [&](const std::string& group, const tensor::Tensor& values) {
        pieces.push_back({group + info.name, info.shape, info.start, info.extent,
                          from - info.offset, to - from, values.data()});
      };
      const std::int64_t at = from - shards_[u].begin;
      piece("parameters/", parameters_.masters(u, from, to));
      piece("moment1/", moments_[u].first.row().column_range(at, to - from));
      piece("moment2/", moments_[u].second.row().column_range(at, to - from));
    }
  }
  return pieces;
}

void Optimizer::load(const checkpoint::CheckpointReader& reader) {
  for (std::size_t u = 0; u < shards_.size(); ++u) {
    for (const auto& span :
         parallel::spans_in(parameters_.units()[u], shards_[u].begin, shards_[u].end)) {
      const ParameterInfo& info = span.info;
      const std::int64_t from = span.begin, to = span.end;
      const auto read = [&](const std::string& group, const tensor::Tensor& values) {
        float* out = values.f32();
        reader.read(group + info.name, info.start, info.extent, from - info.offset, to - from, out);
        model::check_finite(reader.directory().string(), group + info.name, out, to - from,
                            to - from);
      };
      const std::int64_t at = from - shards_[u].begin;
      read("parameters/", parameters_.masters(u, from, to));
      read("moment1/", moments_[u].first.row().column_range(at, to - from));
      read("moment2/", moments_[u].second.row().column_range(at, to - from));
    }
  }
}

}  // namespace eyrie::trainer
