// Passes on meta.
#include "planning/pass_plan.h"

#include <algorithm>

#include "model/token_loss.h"
#include "model/training_parameters.h"
#include "parallel/communication/counting.h"

namespace eyrie::planning {
namespace {

using tensor::Device;
using tensor::DType;

// Gives buffers for gradients, and notes all that is done to units.
class Recorder : public model::GradientSink, public parallel::UnitGather {
 public:
  Recorder(const std::vector<parallel::Unit>& units, model::Workspace& workspace)
      : workspace_(workspace) {
    for (const parallel::Unit& unit : units)
      gradients_.emplace_back(static_cast<std::size_t>(unit.size) * sizeof(float), Device::kMeta);
  }

  tensor::Tensor gradient(std::size_t unit) override {
    // The first unit after the embedding whose gradient is asked for ends the head.
    if (head_scratch_ == 0 && unit != 0) {
      head_scratch_ = static_cast<std::int64_t>(workspace_.scratch.peak_bytes());
      workspace_.scratch.restart_peak();
    }
    calls_.push_back({UnitCall::Kind::kGradient, unit});
    return gradients_[unit].row();
  }
  void finished(std::size_t unit) override { calls_.push_back({UnitCall::Kind::kFinished, unit}); }
  void unshard(std::size_t unit, std::size_t next) override {
    calls_.push_back({UnitCall::Kind::kUnshard, unit, next});
  }
  void reshard(std::size_t unit) override { calls_.push_back({UnitCall::Kind::kReshard, unit}); }
  void begin_pass() override {}
  void finish_passes() override {}

  std::vector<UnitCall>& calls() { return calls_; }
  std::int64_t head_scratch() const { return head_scratch_; }

 private:
  model::Workspace& workspace_;
  std::vector<tensor::Buffer> gradients_;
  std::vector<UnitCall> calls_;
  std::int64_t head_scratch_ = 0;  // bytes
};

// What a pass runs on.
class MetaModel {
 public:
  MetaModel(const model::GriffinConfig& config, const PassShape& shape)
      : shape_(shape),
        mesh_(parallel::Mesh::planned(axes(shape.mesh),
                                      shape.context_rank * shape.mesh.tensor + shape.tensor_rank)),
        griffin_(config, shape.training ? model::ParallelContext::of(mesh_)
                                        : model::ParallelContext::whole_sequences(mesh_)),
        parameters_(griffin_.units(), shape.compute, whole(griffin_.units()), false,
                    Device::kMeta) {
    griffin_.set_recompute(shape.recompute);
  }

  // One pass; returns what it did to units. `plan` gets bytes and exchanges between ranks.
  Recorder pass(model::Workspace& workspace, PassPlan& plan) {
    Recorder recorder(griffin_.units(), workspace);
    parameters_.set_gather(&recorder);
    const auto& context = static_cast<const parallel::CountingCommunicator&>(mesh_.context());
    const auto& tensor = static_cast<const parallel::CountingCommunicator&>(mesh_.tensor());
    plan.context_sent = -context.bytes_sent(), plan.context_exchanges = -context.operations();
    plan.tensor_sent = -tensor.bytes_sent(), plan.tensor_exchanges = -tensor.operations();
    const model::TargetBatch batch{
        {shape_.sequences, shape_.length, row(DType::kInt32), row(DType::kInt32)},
        row(DType::kInt32),
        row(DType::kFloat32)};
    if (shape_.training) {
      model::token_loss(griffin_, parameters_, batch, workspace, 1.0f, recorder);
    } else {
      model::token_nll(griffin_, parameters_, batch, workspace);
    }
    plan.context_sent += context.bytes_sent(), plan.context_exchanges += context.operations();
    plan.tensor_sent += tensor.bytes_sent(), plan.tensor_exchanges += tensor.operations();
    parameters_.set_gather(nullptr);
    return recorder;
  }

 private:
  static parallel::MeshShape axes(const parallel::MeshShape& mesh) {
    return {.context = mesh.context, .tensor = mesh.tensor, .sequence = mesh.sequence, .zero = 0};
  }
  static std::vector<parallel::UnitShard> whole(const std::vector<parallel::Unit>& units) {
    return parallel::shards_of(units, parallel::MeshShape{.zero = 0}, 0);
  }
  tensor::Tensor row(DType dtype) {
    const std::int64_t count = shape_.sequences * shape_.length;
    batch_.emplace_back(static_cast<std::size_t>(count * size_of(dtype)), Device::kMeta);
    return batch_.back().view(dtype, 1, count);
  }

  PassShape shape_;
  parallel::Mesh mesh_;
  model::Griffin griffin_;
  model::TrainingParameters parameters_;
  std::vector<tensor::Buffer> batch_;
};

}  // namespace

PassPlan plan_pass(const model::GriffinConfig& config, const PassShape& shape) {
  constexpr std::size_t kEndless = std::size_t{1} << 50;  // one chunk holds all
  MetaModel model(config, shape);
  PassPlan plan;
  {
    model::Workspace seamless(Device::kMeta, kEndless);
    Recorder recorder = model.pass(seamless, plan);
    plan.activations = static_cast<std::int64_t>(seamless.saved.peak_bytes());
    plan.logits = recorder.head_scratch();
    plan.backward = static_cast<std::int64_t>(seamless.scratch.peak_bytes());
    plan.calls = std::move(recorder.calls());
  }
  // A later pass may place an allocation elsewhere than the first one did, until the chunks fit.
  model::Workspace workspace(Device::kMeta);
  for (std::int64_t before = -1, held = 0; held != before;) {
    before = held;
    model.pass(workspace, plan);
    plan.saved_held = static_cast<std::int64_t>(workspace.saved.held_bytes());
    plan.scratch_held = static_cast<std::int64_t>(workspace.scratch.held_bytes());
    plan.saved_touched = static_cast<std::int64_t>(workspace.saved.touched_bytes());
    plan.scratch_touched = static_cast<std::int64_t>(workspace.scratch.touched_bytes());
    held = plan.saved_held + plan.scratch_held + plan.saved_touched + plan.scratch_touched;
  }
  return plan;
}

const PassPlan& PassPlans::plan(const PassShape& shape) {
  const parallel::MeshShape& mesh = shape.mesh;
  const auto [found, fresh] = plans_.try_emplace(
      {shape.compute, shape.sequences, shape.length, mesh.context, shape.context_rank, mesh.tensor,
       shape.tensor_rank, mesh.sequence, shape.training, shape.recompute});
  if (fresh) found->second = plan_pass(config_, shape);
  return found->second;
}

}  // namespace eyrie::planning
