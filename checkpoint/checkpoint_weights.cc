// Reads weights from checkpoints.
#include "checkpoint/checkpoint_weights.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "model/weights/finite.h"

namespace eyrie::checkpoint {

CheckpointWeights::CheckpointWeights(const base::Path& checkpoint) : reader_(checkpoint) {
  try {
    const auto state = nlohmann::json::parse(reader_.state());
    config_ = model::from_json(state.at("model").dump());
    type_ = model::stored_type(state.at("precision").get<std::string>());
    tokenizer_ = state.at("tokenizer").get<std::string>();
    tokenizer_hash_ = state.at("tokenizer_hash").get<std::string>();
    run_ = state.value("run", "");
  } catch (const nlohmann::json::exception&) {
    throw base::InputError(
        fmt::format("{}: its state is not that of a training run", checkpoint.string()));
  }
}

void CheckpointWeights::read(const parallel::ParameterInfo& info, std::int64_t first,
                             std::int64_t count, float* out) const {
  const std::string name = "parameters/" + info.name;
  if (reader_.shape(name) != info.shape) {
    throw base::InputError(fmt::format("{}: tensor {} has not the shape of the model",
                                       reader_.directory().string(), name));
  }
  const auto read_part = [&](std::int64_t begin, std::int64_t some, float* to) {
    reader_.read(name, {std::vector<std::int64_t>(info.shape.size()), info.shape, begin, some}, to);
  };
  read_part(first, count, out);
  model::check_finite(description(), name, out, count, info.count(), [&] {
    std::vector<float> whole(static_cast<std::size_t>(info.count()));
    read_part(0, info.count(), whole.data());
    return model::count_not_finite(whole.data(), info.count());
  });
}

}  // namespace eyrie::checkpoint
