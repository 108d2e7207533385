// States: any pieces and any company give the same logits; copies, files, sizes.
#include "model/state.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>

#include <fstream>

#include "base/philox.h"
#include "model/griffin.h"
#include "support/model_fixture.h"
#include "support/scratch_folder.h"

namespace eyrie::model {
namespace {

using tensor::DType;
using tensor::Tensor;

GriffinConfig small(const std::string& layers) {
  GriffinConfig config = preset("griffin-10m");
  config.vocabulary = 61;
  config.width = 36;
  config.rnn_width = 40;
  config.mlp_width = 52;
  config.heads = 3;
  config.gate_blocks = 5;
  config.layers = layers;
  config.window = 6;
  return config;
}

std::vector<std::int32_t> random_tokens(std::int64_t count, const char* purpose) {
  const base::Philox random(5, purpose);
  std::vector<std::int32_t> ids;
  for (std::int64_t i = 0; i < count; ++i)
    ids.push_back(static_cast<std::int32_t>(random.uniform(static_cast<std::uint64_t>(i)) * 61));
  return ids;
}

class Model {
 public:
  Model(const std::string& layers, DType dtype)
      : griffin(small(layers)),
        masters(griffin.units(), dtype),
        parameters(masters_filled(dtype)) {}
  InferenceParameters masters_filled(DType dtype) {
    masters.initialise(3);
    return test::for_inference(masters, dtype);
  }
  State state(std::int64_t sequences) const {
    return {griffin.config(), parameters.compute_dtype(), sequences};
  }
  std::vector<float> logits(const Tensor& hidden, bool decode = false) {
    std::vector<float> out(static_cast<std::size_t>(hidden.rows() * 61));
    griffin.lm_head().logits(parameters, hidden, {out.data(), DType::kFloat32, hidden.rows(), 61},
                             true, decode);
    return out;
  }
  std::vector<float> read(const std::vector<std::int32_t>& tokens, State& state,
                          const PrefillOptions& options = {}) {
    return logits(griffin.prefill(parameters, tokens,
                                  static_cast<std::int64_t>(tokens.size()) / state.sequences(),
                                  state, workspace, options));
  }
  std::vector<float> step(const std::vector<std::int32_t>& tokens, State& state) {
    return logits(griffin.decode_step(parameters, tokens, state, workspace), true);
  }
  Griffin griffin;
  TrainingParameters masters;
  InferenceParameters parameters;
  Workspace workspace;
};

double difference(std::span<const float> a, std::span<const float> b) {
  EXPECT_EQ(a.size(), b.size());
  double worst = 0;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i)
    worst = std::max(worst, std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
  return worst;
}

// bf16 rounds what one path keeps in fp32, and sums in another order: a few of its last places.
double tolerance(DType dtype) { return dtype == DType::kFloat32 ? 1e-5 : 0.06; }

constexpr const char* kFamilies[] = {"RRAR", "RR", "GG", "AA", "GRA"};

TEST(State, AnyPiecesGiveTheSameLogits) {
  for (const DType dtype : {DType::kFloat32, DType::kBFloat16}) {
    for (const char* layers : kFamilies) {
      Model model(layers, dtype);
      const std::int64_t length = 23;
      const auto tokens = random_tokens(length, "pieces");
      State whole = model.state(1);
      const auto expected = model.read(tokens, whole);
      for (const std::int64_t piece : {1, 2, 5, 6, 7, 8, 22}) {
        State state = model.state(1);
        for (std::int64_t begin = 0; begin < length; begin += piece) {
          const std::int64_t count = std::min(piece, length - begin);
          const std::vector<std::int32_t> some(tokens.begin() + begin,
                                               tokens.begin() + begin + count);
          const auto got = model.read(some, state);
          EXPECT_LE(difference(got, std::span(expected).subspan(
                                        static_cast<std::size_t>(begin * 61), got.size())),
                    tolerance(dtype))
              << layers << " pieces of " << piece << " at " << begin;
        }
        State stepped = model.state(1);
        model.read({tokens.begin(), tokens.begin() + piece}, stepped);
        for (std::int64_t t = piece; t < length; ++t) {
          const auto got = model.step({tokens[static_cast<std::size_t>(t)]}, stepped);
          EXPECT_LE(
              difference(got, std::span(expected).subspan(static_cast<std::size_t>(t * 61), 61)),
              tolerance(dtype))
              << layers << " step " << t << " after " << piece;
        }
      }
    }
  }
}

// Rows of different length read together, then stepped together, are each as alone, bit for bit.
TEST(State, SequencesOfDifferentLengthAndStart) {
  for (const DType dtype : {DType::kFloat32, DType::kBFloat16}) {
    for (const char* layers : kFamilies) {
      Model model(layers, dtype);
      const std::vector<std::vector<std::int64_t>> rounds = {{3, 0, 9, 1}, {5, 4, 2, 8}};
      State together = model.state(4);
      std::vector<State> alone;
      for (int s = 0; s < 4; ++s) alone.push_back(model.state(1));
      for (std::size_t round = 0; round < rounds.size(); ++round) {
        const auto& lengths = rounds[round];
        const auto tokens = random_tokens(std::reduce(lengths.begin(), lengths.end()),
                                          round == 0 ? "first" : "second");
        const auto got = model.read(tokens, together, {.lengths = lengths});
        std::int64_t row = 0;
        for (std::size_t s = 0; s < 4; ++s) {
          const auto begin = tokens.begin() + row;
          if (lengths[s] == 0) continue;
          const auto expected = model.read({begin, begin + lengths[s]}, alone[s]);
          EXPECT_EQ(difference(
                        std::span(got).subspan(static_cast<std::size_t>(row) * 61, expected.size()),
                        expected),
                    0)
              << layers << " sequence " << s;
          row += lengths[s];
          EXPECT_EQ(together.tokens(static_cast<std::int64_t>(s)), alone[s].tokens(0));
          EXPECT_EQ(together.position(static_cast<std::int64_t>(s)), alone[s].position(0));
        }
      }
      for (int t = 0; t < 9; ++t) {
        const auto tokens = random_tokens(4, ("step" + std::to_string(t)).c_str());
        const auto got = model.step(tokens, together);
        for (std::size_t s = 0; s < 4; ++s) {
          const auto expected = model.step({tokens[s]}, alone[s]);
          EXPECT_LE(difference(std::span(got).subspan(s * 61, 61), expected), tolerance(dtype))
              << layers << " step " << t << " sequence " << s;
        }
      }
    }
  }
}

// From equal states a step has the same bits in any company.
TEST(State, AStepHasTheSameBitsInAnyCompany) {
  for (const DType dtype : {DType::kFloat32, DType::kBFloat16}) {
    Model model("RRAR", dtype);
    State together = model.state(0);
    std::vector<State> alone;
    for (std::int64_t s = 0; s < 11; ++s) {
      State one = model.state(1);
      model.read(random_tokens(2 + 3 * s, "company"), one);
      together.append(one, 0);
      alone.push_back(std::move(one));
    }
    for (int t = 0; t < 8; ++t) {
      const auto tokens = random_tokens(together.sequences(), "tokens");
      const auto got = model.step(tokens, together);
      for (std::size_t s = 0; s < alone.size(); ++s) {
        const auto expected = model.step({tokens[s]}, alone[s]);
        EXPECT_EQ(difference(std::span(got).subspan(s * 61, 61), expected), 0) << t << " " << s;
      }
      if (t == 3) {  // one leaves: the last takes its place
        together.remove(2);
        alone[2] = std::move(alone.back());
        alone.pop_back();
      }
      if (t == 5) {  // the last leaves
        together.remove(together.sequences() - 1);
        alone.pop_back();
      }
    }
  }
}

TEST(State, ForksGoTheirOwnWays) {
  Model model("RRAG", DType::kFloat32);
  State state = model.state(2);
  model.read(random_tokens(2 * 9, "fork"), state);
  State forks = state.fork(1, 3), again = state.fork(1, 1);
  const auto got = model.step({1, 2, 1}, forks);
  EXPECT_EQ(difference(std::span(got).first(61), std::span(got).last(61)), 0);
  EXPECT_GT(difference(std::span(got).first(61), std::span(got).subspan(61, 61)), 0);
  EXPECT_EQ(difference(model.step({1}, again), std::span(got).first(61)), 0);
  EXPECT_EQ(state.tokens(1), 9);  // the original stays
  EXPECT_EQ(forks.tokens(0), 10);
}

TEST(State, SizeIsConstantBeyondTheWindow) {
  Model local("RRAR", DType::kFloat32), global("RGR", DType::kFloat32);
  State state = local.state(1), keeps_all = global.state(1);
  std::size_t at_window = 0;
  for (std::int64_t t = 0; t < 400; ++t) {
    local.step({static_cast<std::int32_t>(t % 61)}, state);
    global.step({static_cast<std::int32_t>(t % 61)}, keeps_all);
    if (t == local.griffin.config().window) at_window = state.bytes();
  }
  const GriffinConfig& config = local.griffin.config();
  EXPECT_EQ(state.bytes(), at_window);
  EXPECT_EQ(at_window, static_cast<std::size_t>(3 * config.rnn_width * (4 + 3 * 4) +
                                                2 * (config.window + 1) * config.head_dim() * 4));
  EXPECT_GE(keeps_all.bytes(), static_cast<std::size_t>(2 * 400 * config.head_dim() * 4));
}

TEST(State, AFileGoesOnBitForBit) {
  const test::ScratchFolder folder;
  for (const DType dtype : {DType::kFloat32, DType::kBFloat16}) {
    for (const char* layers : kFamilies) {
      for (const std::int64_t length : {0, 1, 4, 6, 7, 20}) {
        Model model(layers, dtype);
        State state = model.state(2);
        const auto path = folder.path() / "state.h5";
        if (length > 0) model.read(random_tokens(2 * length, "file"), state);
        state.save(path, {7, 8});
        std::vector<std::int32_t> unread;
        State loaded = State::load(path, model.griffin.config(), dtype, &unread);
        EXPECT_EQ(unread, (std::vector<std::int32_t>{7, 8}));
        ASSERT_EQ(loaded.sequences(), 2);
        EXPECT_EQ(loaded.tokens(1), length);
        for (int t = 0; t < 9; ++t) {
          EXPECT_EQ(difference(model.step({3, 4}, state), model.step({3, 4}, loaded)), 0)
              << layers << " " << length << " step " << t;
        }
      }
    }
  }
}

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const base::InputError& error) {
    return error.what();
  }
  return "nothing was thrown";
}

// A file whose checksums are right, and whose content cannot be.
TEST(State, WhatCannotBeIsRefused) {
  const test::ScratchFolder folder;
  Model model("RRAR", DType::kFloat32);
  State state = model.state(1);
  model.read(random_tokens(9, "file"), state);
  const auto path = folder.path() / "state.h5";
  const auto message = [&](const std::string& tokenizer = {}, const std::string& weights = {}) {
    return message_of([&] {
      State::load(path, model.griffin.config(), DType::kFloat32, nullptr, {weights, tokenizer});
    });
  };
  state.save(path, {}, {"cccc", "aaaa"});
  EXPECT_EQ(message(), "nothing was thrown");
  EXPECT_EQ(message("aaaa"), "nothing was thrown");
  EXPECT_EQ(message("aaaa", "cccc"), "nothing was thrown");
  EXPECT_NE(message("bbbb").find("another tokenizer (hash aaaa)"), std::string::npos);
  EXPECT_NE(message("aaaa", "dddd").find("other weights (fingerprint cccc)"), std::string::npos);
  state.save(path);
  EXPECT_EQ(message("bbbb", "dddd"), "nothing was thrown");  // not said
  state.save(path, {61});
  EXPECT_NE(message().find("unread token 61"), std::string::npos);
  State far = state.fork(0, 1);
  far.advance(0, std::int64_t{1} << 32, std::int64_t{1} << 32);
  far.save(path);
  EXPECT_NE(message().find("stands at"), std::string::npos) << message();
  for (const float value : {std::nanf(""), std::numeric_limits<float>::infinity()}) {
    State damaged = state.fork(0, 1);
    damaged.recurrent(1).f32()[3] = damaged.recurrent(1).f32()[5] = value;
    damaged.save(path);
    EXPECT_NE(message().find("state.h5: tensor recurrent.1 has 2 values of"), std::string::npos)
        << message();
  }
}

TEST(State, WrongFilesAreRefused) {
  const test::ScratchFolder folder;
  Model model("RRAR", DType::kFloat32), other("RRAA", DType::kFloat32);
  State state = model.state(1);
  model.read(random_tokens(9, "file"), state);
  const auto path = folder.path() / "state.h5";
  const auto load = [&](const GriffinConfig& config, DType dtype) {
    return message_of([&] { State::load(path, config, dtype); });
  };
  EXPECT_NE(load(model.griffin.config(), DType::kFloat32).find("state.h5"), std::string::npos);
  state.save(path);
  EXPECT_NE(load(other.griffin.config(), DType::kFloat32).find("another model"), std::string::npos);
  EXPECT_NE(load(model.griffin.config(), DType::kBFloat16).find("fp32"), std::string::npos);
  std::string bytes = base::read_file(path);
  for (std::size_t at = 3; at < bytes.size(); at += 997) {  // a bit anywhere
    std::string damaged = bytes;
    damaged[at] = static_cast<char>(damaged[at] ^ 16);
    std::ofstream(path, std::ios::binary) << damaged;
    EXPECT_NE(load(model.griffin.config(), DType::kFloat32), "nothing was thrown") << at;
  }
  std::ofstream(path, std::ios::binary) << bytes.substr(0, bytes.size() / 2);
  EXPECT_NE(load(model.griffin.config(), DType::kFloat32).find("state.h5"), std::string::npos);
}

}  // namespace
}  // namespace eyrie::model
