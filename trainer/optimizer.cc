// ZeRO-1 AdamW over parameter units.
#include "trainer/optimizer.h"

#include <algorithm>
#include <cmath>

#include "tensor/ops/adamw.h"

namespace eyrie::trainer {

using parallel::ParameterRow;
using parallel::UnitBlock;

struct Optimizer::UnitState {
  std::vector<UnitBlock> blocks;
  std::int64_t first_block = 0;     // its number over all units
  std::vector<std::int64_t> cuts;   // of the unit's buffer over ranks
  std::int64_t begin = 0, end = 0;  // this rank's part
  tensor::Buffer moment1, moment2;  // of the part
  std::unique_ptr<parallel::GradientAccumulator> accumulator;
  parallel::ExchangeQueue::Ticket ticket = 0;

  bool owns(const UnitBlock& block) const { return block.begin >= begin && block.begin < end; }
};

Optimizer::Optimizer(const OptimizerConfig& config, model::Parameters& parameters,
                     parallel::Communicator& ranks)
    : config_(config), parameters_(parameters), ranks_(ranks), queue_(ranks) {
  for (const parallel::Unit& unit : parameters.units()) {
    auto state = std::make_unique<UnitState>();
    state->blocks = parallel::blocks_of(unit);
    state->first_block = block_count_;
    block_count_ += static_cast<std::int64_t>(state->blocks.size());
    state->cuts = parallel::cuts_of(unit, ranks.size());
    state->begin = state->cuts[static_cast<std::size_t>(ranks.rank())];
    state->end = state->cuts[static_cast<std::size_t>(ranks.rank()) + 1];
    state->moment1 = tensor::Buffer(static_cast<std::size_t>(state->end - state->begin) * 4);
    state->moment2 = tensor::Buffer(static_cast<std::size_t>(state->end - state->begin) * 4);
    units_.push_back(std::move(state));
  }
  reset_moments();
}

Optimizer::~Optimizer() = default;

void Optimizer::reset_moments() {
  updates_ = 0;
  for (auto& unit : units_) {
    unit->moment1.zero();
    unit->moment2.zero();
  }
}

void Optimizer::begin(const parallel::MicroShardPlan& plan) {
  order_.clear();
  const bool same = plan_ && plan_->micro_shards() == plan.micro_shards();
  if (!same) plan_ = std::make_unique<parallel::MicroShardPlan>(plan);
  for (std::size_t u = 0; u < units_.size(); ++u) {
    if (same) {
      units_[u]->accumulator->reset();
    } else {
      units_[u]->accumulator = std::make_unique<parallel::GradientAccumulator>(
          *plan_, ranks_.rank(), parameters_.units()[u].size);
    }
  }
}

float* Optimizer::gradient(std::size_t unit) { return units_[unit]->accumulator->buffer().data(); }

void Optimizer::finished(std::size_t unit) {
  UnitState& state = *units_[unit];
  state.accumulator->add();
  if (!state.accumulator->complete()) return;
  state.ticket = queue_.post_reduce_scatter(state.accumulator->sum(), state.cuts, *plan_);
  order_.push_back(unit);
}

void Optimizer::reduce(std::span<double> squares) {
  EYRIE_CHECK(order_.size() == units_.size(), "reduce() before all micro-shards were done");
  for (const std::size_t u : order_) {
    UnitState& state = *units_[u];
    queue_.wait(state.ticket);
    const float* sum = state.accumulator->sum().data();
    for (std::size_t b = 0; b < state.blocks.size(); ++b) {
      const UnitBlock& block = state.blocks[b];
      if (!state.owns(block)) continue;
      squares[static_cast<std::size_t>(state.first_block) + b] =
          tensor::sum_of_squares({sum + block.begin, static_cast<std::size_t>(block.count)});
    }
  }
}

double Optimizer::norm(std::span<const double> squares) {
  double total = 0;
  for (const double square : squares) total += square;
  return std::sqrt(total);
}

void Optimizer::apply(double learning_rate, double grad_norm) {
  ++updates_;
  const bool clipped = config_.clip > 0 && grad_norm > config_.clip;
  tensor::AdamWStep step{static_cast<float>(learning_rate),
                         static_cast<float>(config_.beta1),
                         static_cast<float>(config_.beta2),
                         static_cast<float>(config_.epsilon),
                         0.0f,
                         clipped ? static_cast<float>(config_.clip / grad_norm) : 1.0f,
                         updates_};
  std::vector<parallel::ExchangeQueue::Ticket> tickets(units_.size());
  for (std::size_t u = 0; u < units_.size(); ++u) {
    UnitState& state = *units_[u];
    float* master = parameters_.master(u);
    const float* sum = state.accumulator->sum().data();
    for (const ParameterRow& row : parameters_.units()[u].rows) {
      const std::int64_t from = std::max(row.offset, state.begin),
                         to = std::min(row.offset + row.count(), state.end);
      if (from >= to) continue;
      step.weight_decay =
          row.decay || config_.decay_all ? static_cast<float>(config_.weight_decay) : 0.0f;
      const auto count = static_cast<std::size_t>(to - from);
      tensor::adamw({master + from, count}, {sum + from, count},
                    {state.moment1.f32() + from - state.begin, count},
                    {state.moment2.f32() + from - state.begin, count}, step);
    }
    tickets[u] = queue_.post_all_gather(
        std::span<float>(master, static_cast<std::size_t>(parameters_.units()[u].size)),
        state.cuts);
  }
  for (std::size_t u = 0; u < units_.size(); ++u) {
    queue_.wait(tickets[u]);
    parameters_.refresh(u);
  }
}

std::vector<TensorPiece> Optimizer::pieces() const {
  std::vector<TensorPiece> pieces;
  for (std::size_t u = 0; u < units_.size(); ++u) {
    const UnitState& state = *units_[u];
    for (const ParameterRow& row : parameters_.units()[u].rows) {
      const std::int64_t from = std::max(row.offset, state.begin),
                         to = std::min(row.offset + row.count(), state.end);
      if (from >= to) continue;
      const auto piece = [&](const std::string& group, const float* data) {
        pieces.push_back({group + row.name, row.shape, row.start, row.extent, from - row.offset,
                          to - from, data});
      };
      piece("parameters/", parameters_.master(u) + from);
      piece("moment1/", state.moment1.f32() + from - state.begin);
      piece("moment2/", state.moment2.f32() + from - state.begin);
    }
  }
  return pieces;
}

void Optimizer::load(const CheckpointReader& reader) {
  for (std::size_t u = 0; u < units_.size(); ++u) {
    UnitState& state = *units_[u];
    for (const ParameterRow& row : parameters_.units()[u].rows) {
      reader.read("parameters/" + row.name, row.start, row.extent, 0, row.count(),
                  parameters_.master(u) + row.offset);
      const std::int64_t from = std::max(row.offset, state.begin),
                         to = std::min(row.offset + row.count(), state.end);
      if (from >= to) continue;
      reader.read("moment1/" + row.name, row.start, row.extent, from - row.offset, to - from,
                  state.moment1.f32() + from - state.begin);
      reader.read("moment2/" + row.name, row.start, row.extent, from - row.offset, to - from,
                  state.moment2.f32() + from - state.begin);
    }
  }
  parameters_.refresh_all();
}

}  // namespace eyrie::trainer
