// Prefill and single steps against the official cache: logits, states, keys and values, past the
// window; greedy text; a document that begins just before the last piece's end.
#include <gtest/gtest.h>

#include <cmath>

#include "generation/generator.h"
#include "model/training_parameters.h"
#include "support/model_fixture.h"

namespace eyrie::generation {
namespace {

using namespace model;  // Griffin, parameters and states
using tensor::DType;
using tensor::Tensor;
using test::Fixture;
using test::fixtures;

constexpr float kTolerance = 5e-5f;

// griffin_tiny with the weights as training and as inference keep them.
class Decode : public testing::TestWithParam<bool> {
 protected:
  Decode()
      : weights(fixtures() / "griffin_tiny.h5"),
        file(fixtures() / "decode.h5"),
        griffin(test::config_of(weights)),
        masters(griffin.units(), DType::kFloat32),
        inference(masters_filled()),
        parameters(GetParam() ? static_cast<const Parameters&>(inference) : masters) {}

  InferenceParameters masters_filled() {
    test::load(weights, "params", masters);
    return test::for_inference(masters, DType::kFloat32);
  }

  // Columns [begin, begin + count) of a (sequences, length) array.
  template <class T>
  static std::vector<T> columns(const std::vector<T>& all, std::int64_t sequences,
                                std::int64_t begin, std::int64_t count) {
    const std::int64_t length = static_cast<std::int64_t>(all.size()) / sequences;
    std::vector<T> some;
    for (std::int64_t s = 0; s < sequences; ++s) {
      const auto from = all.begin() + s * length + begin;
      some.insert(some.end(), from, from + count);
    }
    return some;
  }

  std::vector<float> logits_of(const Tensor& hidden, bool decode) {
    std::vector<float> logits(
        static_cast<std::size_t>(hidden.rows() * griffin.config().vocabulary));
    griffin.lm_head().logits(
        parameters, hidden,
        {logits.data(), DType::kFloat32, hidden.rows(), griffin.config().vocabulary}, true, decode);
    return logits;
  }
  void read(const std::vector<std::int32_t>& tokens, State& state,
            std::span<const std::int32_t> positions = {}, std::vector<float>* logits = nullptr) {
    const std::int64_t length = static_cast<std::int64_t>(tokens.size()) / state.sequences();
    const Tensor hidden =
        griffin.prefill(parameters, tokens, length, state, workspace, {.positions = positions});
    if (logits != nullptr) *logits = logits_of(hidden, false);
  }
  std::vector<float> step(const std::vector<std::int32_t>& tokens, State& state) {
    return logits_of(griffin.decode_step(parameters, tokens, state, workspace), true);
  }

  static void expect_near(const std::vector<float>& got, const std::vector<float>& expected,
                          const std::string& what) {
    ASSERT_EQ(got.size(), expected.size()) << what;
    float worst = 0;
    for (std::size_t i = 0; i < got.size(); ++i)
      worst = std::max(worst, std::abs(got[i] - expected[i]));
    EXPECT_LE(worst, kTolerance) << what;
  }

  // Steps over tokens [from, end) against group/step_logits.
  void expect_steps(const std::string& group, State& state, std::int64_t from) {
    const auto tokens = file.ints(group + "/tokens");
    const auto expected = file.floats(group + "/step_logits");
    const std::int64_t sequences = file.shape(group + "/tokens")[0],
                       length = file.shape(group + "/tokens")[1];
    for (std::int64_t t = from; t < length; ++t) {
      expect_near(step(columns(tokens, sequences, t, 1), state),
                  columns(expected, sequences, (t - from) * griffin.config().vocabulary,
                          griffin.config().vocabulary),
                  group + " token " + std::to_string(t));
    }
  }

  // Against the official cache: a ring of W rows, position p in slot p mod W.
  void expect_cache(const std::string& group, const State& state) {
    const GriffinConfig& config = griffin.config();
    for (std::size_t i = 0; i < config.layers.size(); ++i) {
      const std::string block = group + "/blocks." + std::to_string(i) + "/";
      if (!config.is_attention(i)) {
        const Tensor recurrent = state.recurrent(i), convolution = state.convolution(i);
        expect_near({recurrent.f32(), recurrent.f32() + recurrent.count()},
                    file.floats(block + "rg_lru_state"), block + "rg_lru_state");
        expect_near({convolution.f32(), convolution.f32() + convolution.count()},
                    file.floats(block + "conv1d_state"), block + "conv1d_state");
        continue;
      }
      const auto keys = file.floats(block + "keys"), values = file.floats(block + "values");
      const std::int64_t dim = config.head_dim();
      for (std::int64_t s = 0; s < state.sequences(); ++s) {
        const std::int64_t tokens = state.tokens(s), kept = std::min(tokens, config.window);
        EXPECT_EQ(file.ints(block + "num_tokens")[static_cast<std::size_t>(s)], tokens);
        tensor::Arena memory;
        const Tensor k = memory.allocate(DType::kFloat32, kept, dim),
                     v = memory.allocate(DType::kFloat32, kept, dim);
        state.last(i, s, k, v);
        for (std::int64_t t = 0; t < kept; ++t) {
          const auto slot = static_cast<std::size_t>(
              (s * config.window + (tokens - kept + t) % config.window) * dim);
          for (std::int64_t d = 0; d < dim; ++d) {
            EXPECT_NEAR(k.f32()[t * dim + d], keys[slot + static_cast<std::size_t>(d)], kTolerance);
            EXPECT_NEAR(v.f32()[t * dim + d], values[slot + static_cast<std::size_t>(d)],
                        kTolerance);
          }
        }
      }
    }
  }

  const Fixture weights, file;
  Griffin griffin;
  TrainingParameters masters;
  InferenceParameters inference;
  const Parameters& parameters;
  Workspace workspace;
};

TEST_P(Decode, PrefillAndStepsAreTheOfficialOnes) {
  for (const std::string group : {"long", "short"}) {
    const auto tokens = file.ints(group + "/tokens");
    const std::int64_t sequences = file.shape(group + "/tokens")[0],
                       prefill = file.shape(group + "/prefill_logits")[1];
    State state(griffin.config(), DType::kFloat32, sequences);
    std::vector<float> logits;
    read(columns(tokens, sequences, 0, prefill), state, {}, &logits);
    expect_near(logits, file.floats(group + "/prefill_logits"), group + " prefill");
    expect_cache(group + "/cache_after_prefill", state);
    expect_steps(group, state, prefill);
    expect_cache(group + "/cache_at_end", state);
  }
}

TEST_P(Decode, StepsFromNothing) {
  State state(griffin.config(), DType::kFloat32, file.shape("empty/tokens")[0]);
  expect_steps("empty", state, 0);
}

// The last document of a packed prompt begins two tokens before its end: what came before must not
// reach it through the convolution's inputs.
TEST_P(Decode, ADocumentThatBeginsJustBeforeTheSteps) {
  const auto tokens = file.ints("boundary/tokens"), places = file.ints("boundary/segment_pos");
  const std::int64_t sequences = file.shape("boundary/tokens")[0],
                     prefill = static_cast<std::int64_t>(file.number("prefill", "boundary"));
  State state(griffin.config(), DType::kFloat32, sequences);
  const auto positions = columns(places, sequences, 0, prefill);
  read(columns(tokens, sequences, 0, prefill), state, positions);
  for (std::int64_t s = 0; s < sequences; ++s) {
    EXPECT_EQ(state.position(s), positions[static_cast<std::size_t>((s + 1) * prefill - 1)] + 1);
    EXPECT_EQ(state.tokens(s), prefill);
  }
  expect_steps("boundary", state, prefill);
}

// Linear layers and embedding in int8: near the official logits, alike in prefill and in steps.
TEST_P(Decode, Int8WeightsStayNear) {
  const InferenceParameters int8 = test::for_inference(masters, DType::kFloat32, true);
  EXPECT_TRUE(int8.has_int8());
  EXPECT_EQ(int8.matrix(0, 0).tensor.dtype(), DType::kInt8);
  const auto tokens = file.ints("short/tokens");
  const std::int64_t sequences = file.shape("short/tokens")[0],
                     length = file.shape("short/tokens")[1];
  const auto logits = [&](const Parameters& from, bool steps) {
    Workspace memory;
    State state(griffin.config(), DType::kFloat32, sequences);
    const std::int64_t first = steps ? 1 : length;
    Tensor hidden =
        griffin.prefill(from, columns(tokens, sequences, 0, first), first, state, memory);
    for (std::int64_t t = first; t < length; ++t)
      hidden = griffin.decode_step(from, columns(tokens, sequences, t, 1), state, memory);
    std::vector<float> all;
    for (std::int64_t s = 0; s < sequences; ++s) {
      const Tensor last =
          hidden.row_range(s * (hidden.rows() / sequences) + hidden.rows() / sequences - 1, 1);
      std::vector<float> row(static_cast<std::size_t>(griffin.config().vocabulary));
      griffin.lm_head().logits(from, last, {row.data(), DType::kFloat32, 1, std::ssize(row)}, true,
                               steps);
      all.insert(all.end(), row.begin(), row.end());
    }
    return all;
  };
  const std::vector<float> exact = logits(inference, false), prefill = logits(int8, false),
                           steps = logits(int8, true);
  double error = 0, size = 0, apart = 0;
  for (std::size_t i = 0; i < exact.size(); ++i) {
    error += std::pow(prefill[i] - exact[i], 2);
    size += std::pow(exact[i], 2);
    apart = std::max<double>(apart, std::abs(prefill[i] - steps[i]));
  }
  EXPECT_LE(apart, kTolerance);
  EXPECT_GT(error, 0);
  EXPECT_LT(std::sqrt(error / size), 0.05);
}

// The official greedy text, sampled together and alone, with prompts read by the generator.
TEST_P(Decode, GreedyTextIsTheOfficialOne) {
  const auto prompts = file.ints("greedy/prompt"), expected = file.ints("greedy/tokens");
  const auto margins = file.floats("greedy/top2_margin");
  const std::int64_t sequences = file.shape("greedy/prompt")[0],
                     length = file.shape("greedy/prompt")[1], made = file.shape("greedy/tokens")[1];
  Decoder decoder(griffin, parameters, griffin.config().vocabulary);
  for (const std::int64_t max_batch : {1, 2, 5}) {
    Generator generator(decoder, {.temperature = 0}, max_batch);
    std::vector<std::vector<std::int32_t>> texts(static_cast<std::size_t>(sequences));
    std::int64_t next = 0;
    generator.run(
        [&]() -> std::optional<GenerationRequest> {
          if (next == sequences) return std::nullopt;
          GenerationRequest request;
          request.tokens = columns(prompts, 1, next * length, length);
          request.max_new_tokens = made;
          request.number = static_cast<std::uint64_t>(next++);
          return request;
        },
        [&](std::uint64_t number, std::int64_t, std::int32_t token) {
          texts[number].push_back(token);
          return true;
        },
        [](std::uint64_t, std::int64_t, bool whole, const State&, std::int64_t) {
          EXPECT_TRUE(whole);
        });
    for (std::int64_t s = 0; s < sequences; ++s) {
      for (std::int64_t t = 0; t < made; ++t) {
        const auto at = static_cast<std::size_t>(s * made + t);
        if (margins[at] < 1e-3f) break;  // a tie: what follows may differ
        ASSERT_EQ(texts[static_cast<std::size_t>(s)][static_cast<std::size_t>(t)], expected[at])
            << s << " " << t;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Weights, Decode, testing::Bool(),
                         [](const auto& info) { return info.param ? "Inference" : "Training"; });

}  // namespace
}  // namespace eyrie::generation
