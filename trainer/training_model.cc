// Computes a step's gradients.
#include "trainer/training_model.h"

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <string_view>
#include <vector>

#include "base/hash.h"
#include "checkpoint/tensor_piece.h"
#include "model/weights/fingerprint.h"

namespace eyrie::trainer {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double peak_memory_mb() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024.0;
}

}  // namespace

TrainingModel::TrainingModel(const RunConfig& run, parallel::Communicator& world,
                             const parallel::MeshShape& shape)
    : mesh_(world, shape),
      griffin_(run.model, model::ParallelContext::of(mesh_)),
      evaluation_model_(run.model, model::ParallelContext::whole_sequences(mesh_)),
      parameters_(make_parameters(
          griffin_.units(), run.bf16 ? tensor::DType::kBFloat16 : tensor::DType::kFloat32, mesh_)),
      optimizer_(run.optimizer, parameters_, mesh_) {
  griffin_.set_recompute(run.recompute);
}

// Runs this rank's micro-shards, overlapping the exchange with the backward pass, and one small
// all-reduce of all control values (losses, stop requests, memory).
StepResult TrainingModel::forward_backward(const Objective& objective,
                                           const data_pipeline::BatchStream& stream,
                                           std::int64_t micro_shards, std::int64_t batch,
                                           const std::function<bool()>& stop, double gain) {
  StepResult result;
  const double waited = optimizer_.exchange().waited_seconds;
  const std::int64_t sent_before = optimizer_.bytes_sent().all();
  const parallel::StepPlan plan(micro_shards, mesh_.shape());
  parallel::Communicator& world = mesh_.world();
  const auto shards = static_cast<std::size_t>(micro_shards), numbers = objective.metrics().size(),
             ranks = static_cast<std::size_t>(world.size()),
             rank = static_cast<std::size_t>(world.rank());
  std::vector<double> control(shards * numbers + 2 * ranks + 1, 0.0);
  const std::span<double> metrics(control.data(), shards * numbers),
      stops(control.data() + metrics.size(), ranks), memory(stops.data() + ranks, ranks);

  const std::int64_t targets = std::max<std::int64_t>(stream.target_count(batch), 1);
  const double scale = gain / static_cast<double>(targets);
  optimizer_.begin(plan);
  for (std::int64_t number = 0; number < plan.count(); ++number) {
    const std::int64_t m = plan.micro_shard(mesh_.data_rank(), number);
    const auto reading = Clock::now();
    const data_pipeline::Batch rows = stream.micro_shard(batch, m);
    result.data_s += seconds_since(reading);
    const std::vector<double> sums = objective.run(griffin_, parameters_, rows, workspace_,
                                                   static_cast<float>(scale), optimizer_);
    // Context ranks have partial sums; all tensor ranks have the same values.
    if (mesh_.tensor_rank() == 0)
      std::copy(sums.begin(), sums.end(), metrics.begin() + m * std::ssize(sums));
  }
  result.grad_norm = optimizer_.grad_norm();
  stops[rank] = stop() ? 1.0 : 0.0;
  memory[rank] = peak_memory_mb();
  control.back() =
      static_cast<double>(optimizer_.bytes_sent().all() - sent_before + all_gather_bytes_);
  all_gather_bytes_ = 0;
  world.all_reduce(std::span<double>(control), parallel::Reduce::kSum);
  result.metrics.assign(numbers, 0.0);
  for (std::size_t i = 0; i < metrics.size(); ++i) result.metrics[i % numbers] += metrics[i];
  for (double& metric : result.metrics) metric *= scale;
  result.loss = result.metrics[0];
  result.stop = std::any_of(stops.begin(), stops.end(), [](double s) { return s != 0; });
  result.memory_mb = *std::max_element(memory.begin(), memory.end());
  result.exchange_bytes = control.back();
  result.exchange_s = optimizer_.exchange().waited_seconds - waited;
  return result;
}

void TrainingModel::initialise(std::uint64_t seed) {
  parameters_.initialise(seed);
  all_gather_parameters();
}

void TrainingModel::all_gather_parameters() {
  const std::int64_t sent_before = optimizer_.bytes_sent().all();
  optimizer_.all_gather_parameters();
  all_gather_bytes_ = optimizer_.bytes_sent().all() - sent_before;
}

std::string TrainingModel::weights_fingerprint() const {
  constexpr std::string_view kGroup = "parameters/";
  std::uint64_t own = 0;
  for (const checkpoint::TensorPiece& piece : optimizer_.checkpoint_pieces()) {
    if (!piece.name.starts_with(kGroup)) continue;
    parallel::ParameterInfo info;
    info.name = piece.name.substr(kGroup.size());
    info.shape = piece.global_shape;
    info.start = piece.start;
    info.extent = piece.extent;
    own += model::weight_sum(info, piece.flat_begin, piece.flat_count,
                             static_cast<const float*>(piece.data));
  }
  std::uint64_t sum = 0;
  for (const auto& rank : mesh_.world().all_gather_values<std::uint64_t>(std::span(&own, 1)))
    sum += rank[0];
  return model::fingerprint(sum, griffin_.config());
}

double TrainingModel::update(double learning_rate, double grad_norm) {
  const double waited = optimizer_.exchange().waited_seconds;
  const std::int64_t sent_before = optimizer_.bytes_sent().all();
  optimizer_.step(learning_rate, grad_norm);
  all_gather_bytes_ = optimizer_.bytes_sent().all() - sent_before;
  return optimizer_.exchange().waited_seconds - waited;
}

}  // namespace eyrie::trainer
