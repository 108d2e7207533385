// A state as a file: docs/formats/state.md.
#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "base/hash.h"
#include "base/hdf5_file.h"
#include "model/state.h"
#include "model/weights/finite.h"
#include "tensor/ops/conv1d.h"

namespace eyrie::model {

using tensor::DType;
using tensor::Tensor;

namespace {

constexpr const char* kFormat = "eyrie-state";
constexpr std::int64_t kVersion = 1;
constexpr const char* kWeights = "weights";
constexpr const char* kTokenizerHash = "tokenizer_hash";
constexpr const char* kAdvice = "make the state again with --save-state";

base::Hdf5Type stored_type(DType dtype) {
  return dtype == DType::kBFloat16 ? base::Hdf5Type::kUint16 : base::Hdf5Type::kFloat32;
}

std::span<std::byte> bytes_of(const Tensor& tensor) {
  return {static_cast<std::byte*>(tensor.data()),
          static_cast<std::size_t>(tensor.count() * size_of(tensor.dtype()))};
}

}  // namespace

void State::save(const base::Path& path, const std::vector<std::int32_t>& unread,
                 const StateOwner& owner) const {
  base::Hdf5Writer file(path);
  base::Hasher hash;
  std::vector<std::int64_t> tokens, positions;
  for (const Mark& mark : marks_) {
    tokens.push_back(mark.tokens);
    positions.push_back(mark.position);
  }
  const auto write = [&](const std::string& name, const Tensor& tensor) {
    if (tensor.empty()) return;
    file.create(name, stored_type(tensor.dtype()), {tensor.rows(), tensor.columns()});
    file.write_slice(name, 0, stored_type(tensor.dtype()), bytes_of(tensor));
    hash.add(bytes_of(tensor));
  };
  tensor::Arena memory;
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    if (!config_.is_attention(i)) {
      write(fmt::format("recurrent.{}", i), recurrent(i));
      write(fmt::format("convolution.{}", i), convolution(i));
      continue;
    }
    for (std::size_t s = 0; s < marks_.size(); ++s) {
      const std::int64_t kept = std::min(marks_[s].tokens, config_.reach(i));
      tensor::ArenaScope scope(memory);
      const Tensor keys = memory.allocate(compute_, kept, config_.head_dim()),
                   values = memory.allocate(compute_, kept, config_.head_dim());
      last(i, static_cast<std::int64_t>(s), keys, values);
      write(fmt::format("keys.{}.{}", i, s), keys);
      write(fmt::format("values.{}.{}", i, s), values);
    }
  }
  file.set_attribute("", "format", std::string(kFormat));
  file.set_attribute("", "version", kVersion);
  file.set_attribute("", "model", to_json(config_));
  file.set_attribute("", "dtype", std::string(name_of(compute_)));
  file.set_attribute("", "tokens", tokens);
  file.set_attribute("", "positions", positions);
  file.set_attribute("", "unread", std::vector<std::int64_t>(unread.begin(), unread.end()));
  if (!owner.weights.empty()) file.set_attribute("", kWeights, owner.weights);
  if (!owner.tokenizer.empty()) file.set_attribute("", kTokenizerHash, owner.tokenizer);
  file.set_attribute("", "checksum", base::hex(hash.value()));
  file.commit();
}

State State::load(const base::Path& path, const GriffinConfig& config, DType compute,
                  std::vector<std::int32_t>* unread, const StateOwner& owner) {
  const base::Hdf5Reader file(path, kAdvice);
  const auto refuse = [&](const std::string& why) {
    return base::InputError(fmt::format("{}: {}; {}", path.string(), why, kAdvice));
  };
  const auto text = [&](const char* name) { return file.attribute<std::string>("", name); };
  if (text("format") != kFormat) throw refuse("it is not a saved state but " + text("format"));
  if (file.attribute<std::int64_t>("", "version") != kVersion)
    throw refuse(fmt::format("its version is {}, this one reads {}",
                             file.attribute<std::int64_t>("", "version"), kVersion));
  GriffinConfig stored = from_json(text("model"));
  stored.preset = config.preset;  // a name only
  if (to_json(stored) != to_json(config))
    throw refuse("it is of another model (" + text("model") + ")");
  if (text("dtype") != name_of(compute))
    throw refuse(fmt::format("it is in {}, the model runs in {}", text("dtype"), name_of(compute)));
  const auto is_other = [&](const char* name, const std::string& now) {
    return !now.empty() && file.has_attribute("", name) && text(name) != now;
  };
  if (is_other(kWeights, owner.weights))
    throw refuse(
        fmt::format("it is of a model with other weights (fingerprint {}) than this one's ({})",
                    text(kWeights), owner.weights));
  if (is_other(kTokenizerHash, owner.tokenizer))
    throw refuse(
        fmt::format("its tokens were made by another tokenizer (hash {}) than the model's "
                    "(hash {})",
                    text(kTokenizerHash), owner.tokenizer));
  const auto tokens = file.attribute<std::vector<std::int64_t>>("", "tokens");
  const auto positions = file.attribute<std::vector<std::int64_t>>("", "positions");
  if (tokens.size() != positions.size()) throw refuse("tokens and positions do not agree");
  for (std::size_t s = 0; s < tokens.size(); ++s) {
    if (positions[s] < 0 || tokens[s] < positions[s] ||
        positions[s] > std::numeric_limits<std::int32_t>::max())
      throw refuse(
          fmt::format("sequence {} stands at {} of {} tokens", s, positions[s], tokens[s]));
  }
  State state(config, compute, static_cast<std::int64_t>(tokens.size()));
  base::Hasher hash;
  const auto read = [&](const std::string& name, const Tensor& tensor) {
    if (tensor.empty()) return;
    if (file.shape(name) != base::Hdf5Shape{tensor.rows(), tensor.columns()})
      throw file.damaged(name, "its shape is not that of this model's state");
    file.read(name, 0, stored_type(tensor.dtype()), bytes_of(tensor));
    hash.add(bytes_of(tensor));
    const std::int64_t not_finite = count_not_finite(
        tensor.dtype() == DType::kFloat32 ? StoredType::kFloat32 : StoredType::kBFloat16,
        bytes_of(tensor).data(), tensor.count());
    if (not_finite > 0) refuse_not_finite(path.string(), name, not_finite, tensor.count());
  };
  tensor::Arena memory;
  for (std::size_t i = 0; i < state.layers_.size(); ++i) {
    if (!config.is_attention(i)) {
      read(fmt::format("recurrent.{}", i), state.recurrent(i));
      read(fmt::format("convolution.{}", i), state.convolution(i));
      continue;
    }
    for (std::size_t s = 0; s < tokens.size(); ++s) {
      const std::int64_t kept = std::min(tokens[s], config.reach(i));
      const std::string keys_name = fmt::format("keys.{}.{}", i, s);
      if (kept > 0 && file.count(keys_name) != kept * config.head_dim())
        throw file.damaged(keys_name, "its shape is not that of this model's state");
      tensor::ArenaScope scope(memory);
      const Tensor keys = memory.allocate(compute, kept, config.head_dim()),
                   values = memory.allocate(compute, kept, config.head_dim());
      read(keys_name, keys);
      read(fmt::format("values.{}.{}", i, s), values);
      // Each token goes into the slot of its index, so that the ring continues where it was.
      Mark& mark = state.marks_[s];
      mark.tokens = tokens[s] - kept;
      if (kept > 0) state.put(i, static_cast<std::int64_t>(s), keys, values);
      mark.tokens = 0;
    }
  }
  if (base::hex(hash.value()) != text("checksum")) throw refuse("its content is damaged");
  for (std::size_t s = 0; s < tokens.size(); ++s) state.marks_[s] = {tokens[s], positions[s]};
  for (const std::int64_t token : file.attribute<std::vector<std::int64_t>>("", "unread")) {
    if (token < 0 || token >= config.vocabulary)
      throw refuse(fmt::format("its unread token {} is outside of the vocabulary", token));
    if (unread != nullptr) unread->push_back(static_cast<std::int32_t>(token));
  }
  return state;
}

}  // namespace eyrie::model
