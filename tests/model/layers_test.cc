// Single layers through their classes against the official numbers, forward and backward.
#include "model/layers.h"
#include "model/training_parameters.h"

#include <gtest/gtest.h>

#include <cmath>

#include "support/layer_fixture.h"
#include "tensor/ops/attention.h"

namespace eyrie::model {
namespace {

using tensor::DType;
using tensor::Tensor;
using test::Array;
using test::expect_near;
using test::LayerFixture;

// One layer of layers.h5 with its parameters loaded, and what one pass over it needs.
template <class Block>
class LayerRun {
 public:
  LayerRun(const std::string& group, DType compute)
      : fixture(group),
        config(config_of(fixture)),
        dims(config, 0, 1),
        block(make(config, dims, group, unit_)),
        parameters({unit_}, compute),
        gradients(static_cast<std::size_t>(unit_.size), std::nanf("")),
        sequences(fixture.shape("in/x")[0]),
        length(fixture.shape("in/x")[1]),
        x(fixture.array("in/x")),
        positions(fixture.has("in/segment_pos")
                      ? fixture.ints("in/segment_pos")
                      : std::vector<std::int32_t>(static_cast<std::size_t>(sequences * length))),
        compute_(compute) {
    for (const auto& row : unit_.parameters) {
      const auto values = fixture.file().floats(row.name);
      EXPECT_EQ(fixture.file().shape(row.name), row.shape) << row.name;
      std::copy(values.begin(), values.end(), parameters.masters(0).f32() + row.offset);
    }
    parameters.refresh_all();
  }

  // The forward pass over tokens [begin, begin + count) of every sequence; y is of those.
  Array forward(std::int64_t begin, std::int64_t count, State* state = nullptr,
                bool decode = false) {
    const std::int64_t n = sequences * count;
    Array y(DType::kFloat32, n, config.width);
    inputs_.emplace_back(compute_, n, config.width);
    places_.push_back({});
    for (std::int64_t s = 0; s < sequences; ++s) {
      for (std::int64_t t = 0; t < count; ++t) {
        const std::int64_t from = s * length + begin + t;
        for (std::int64_t c = 0; c < config.width; ++c)
          inputs_.back().put(s * count + t, c, x(from, c));
        places_.back().push_back(positions[static_cast<std::size_t>(from)]);
      }
    }
    const Array place = Array::ints(places_.back());
    const Array first_key = fixture.has("mask") ? Array::ints(first_keys()) : place;
    const Array cosines(DType::kFloat32, n, config.head_dim() / 4), sines = cosines;
    tensor::rope_angles(place, config.head_dim(), cosines, sines);
    saved_arena_.release({});
    pass_.emplace_back(Pass{parameters,
                            compute_,
                            sequences,
                            count,
                            keep(place),
                            {keep(first_key), 0},
                            {},
                            keep(cosines),
                            keep(sines),
                            saved_arena_,
                            scratch_,
                            state});
    pass_.back().decode = decode;
    block.forward(inputs_.back(), view(decode), pass_.back(), saved, y);
    return y;
  }

  // After forward() over everything: dx, and all gradients in `gradients`.
  Array backward() {
    const Array dy32 = fixture.array("dout/y");
    const Array dy = Array::of(compute_, dy32->rows(), dy32->columns(), dy32.values());
    Array dx(DType::kFloat32, dy->rows(), config.width);
    block.backward(dy, inputs_.back(), view(false), pass_.back(), saved, dx);
    return dx;
  }

  void expect_gradients(double tolerance) {
    for (const auto& row : unit_.parameters) {
      std::string name = row.name;
      name.replace(name.find("/params/"), 8, "/grads/params/");
      const auto expected = fixture.file().floats(name);
      const float* first = gradients.data() + row.offset;
      expect_near(Array::of(DType::kFloat32, 1, row.count(),
                            std::vector<float>(first, first + row.count())),
                  {expected.begin(), expected.end()}, tolerance, name);
    }
  }

  LayerFixture fixture;

 private:
  parallel::Unit unit_{.name = "layer"};

 public:
  GriffinConfig config;
  LocalDims dims;
  Block block;
  TrainingParameters parameters;
  std::vector<float> gradients;
  std::int64_t sequences, length;
  Array x;
  std::vector<std::int32_t> positions;
  typename Block::Saved saved;

 private:
  static GriffinConfig config_of(const LayerFixture& fixture) {
    GriffinConfig config;
    config.width = fixture.shape("in/x").back();
    config.heads = config.gate_blocks =
        static_cast<std::int64_t>(fixture.file().number("num_heads"));
    config.window = static_cast<std::int64_t>(fixture.file().number("attention_window_size"));
    config.layers = std::is_same_v<Block, AttentionBlock> ? "A" : "R";
    if (fixture.has("params/linear_x/kernel"))
      config.rnn_width = fixture.shape("params/linear_x/kernel")[1];
    if (fixture.has("params/ffw_down/kernel"))
      config.mlp_width = fixture.shape("params/ffw_down/kernel")[0];
    return config;
  }
  static Block make(const GriffinConfig& config, const LocalDims& dims, const std::string& group,
                    parallel::Unit& unit) {
    if constexpr (std::is_same_v<Block, MlpBlock>) {
      return Block(config, dims, group + "/params", unit);
    } else {
      return Block(config, dims, group + "/params", 0, unit);
    }
  }
  // From the official mask: every query sees one run of keys that ends with its own.
  std::vector<std::int32_t> first_keys() const {
    const auto mask = fixture.ints("mask");
    std::vector<std::int32_t> first;
    for (std::int64_t n = 0; n < sequences * length; ++n) {
      const auto* row = mask.data() + n * length;
      std::int32_t begin = 0;
      while (row[begin] == 0) ++begin;
      for (std::int32_t j = begin; j < length; ++j) EXPECT_EQ(row[j] != 0, j <= n % length);
      first.push_back(begin);
    }
    return first;
  }
  Tensor keep(const Array& array) {
    kept_.push_back(std::make_unique<Array>(array));
    return *kept_.back();
  }
  UnitView view(bool decode) { return {parameters, 0, tensor::host_row(gradients), decode}; }

  DType compute_;
  tensor::Arena saved_arena_, scratch_;
  std::vector<std::unique_ptr<Array>> kept_;
  std::vector<Array> inputs_;
  std::vector<std::vector<std::int32_t>> places_;
  std::vector<Pass> pass_;
};

template <class Block>
void check_official(const std::string& group) {
  for (const DType compute : test::kBothDTypes) {
    SCOPED_TRACE(group + " " + tensor::name_of(compute));
    LayerRun<Block> run(group, compute);
    // In bf16 every product and activation is rounded; what is asked is that nothing is lost.
    const double tolerance = compute == DType::kFloat32 ? test::kLayerTolerance : 2e-2;
    const Array y = run.forward(0, run.length);
    expect_near(y, run.fixture.values("out/y"), tolerance, "y");
    const Array dx = run.backward();
    expect_near(dx, run.fixture.values("grads/in/x"), tolerance, "dx");
    run.expect_gradients(tolerance);
    test::expect_same_bits_on_any_threads([&] {
      Array again = run.forward(0, run.length), dagain = run.backward();
      const std::int64_t count = static_cast<std::int64_t>(run.gradients.size());
      return std::vector<Array>{again, dagain, Array::of(DType::kFloat32, 1, count, run.gradients)};
    });
  }
}

TEST(Layers, Mlp) { check_official<MlpBlock>("mlp"); }
TEST(Layers, LocalAttention) { check_official<AttentionBlock>("local_attention"); }
TEST(Layers, LocalAttentionOverDocuments) {
  check_official<AttentionBlock>("local_attention_documents");
}
TEST(Layers, RecurrentBlockOverDocuments) {
  check_official<RecurrentBlock>("recurrent_block_documents");
}

// The official cache is a ring, position p in slot p mod W; ours has one slot more.
TEST(Layers, KeysAndValuesAreThoseOfTheOfficialCache) {
  LayerRun<AttentionBlock> run("local_attention", DType::kFloat32);
  run.forward(0, run.length);
  const auto keys = run.fixture.values("out/cache_keys"),
             values = run.fixture.values("out/cache_values");
  const std::int64_t window = run.config.window, dim = run.config.head_dim();
  const auto tokens = run.fixture.ints("out/cache_num_tokens");
  for (std::int64_t s = 0; s < run.sequences; ++s) {
    ASSERT_EQ(tokens[static_cast<std::size_t>(s)], run.length);
    for (std::int64_t t = std::max<std::int64_t>(0, run.length - window); t < run.length; ++t) {
      for (std::int64_t d = 0; d < dim; ++d) {
        const auto slot = static_cast<std::size_t>((s * window + t % window) * dim + d);
        const std::int64_t at = (s * run.length + t) * dim + d;
        EXPECT_NEAR(run.saved.k.f32()[at], keys[slot], 5e-6 * test::largest(keys));
        EXPECT_NEAR(run.saved.v.f32()[at], values[slot], 5e-6 * test::largest(values));
      }
    }
  }
}

TEST(Layers, RecurrentStateIsTheOfficialOne) {
  LayerRun<RecurrentBlock> run("recurrent_block_documents", DType::kFloat32);
  run.forward(0, run.length);
  const auto state = run.fixture.values("out/cache_rg_lru_state"),
             inputs = run.fixture.values("out/cache_conv1d_state");
  const std::int64_t rnn = run.config.rnn_width;
  for (std::int64_t s = 0; s < run.sequences; ++s) {
    const std::int64_t last = (s + 1) * run.length - 1;
    for (std::int64_t c = 0; c < rnn; ++c) {
      EXPECT_NEAR(run.saved.h.f32()[last * rnn + c], state[static_cast<std::size_t>(s * rnn + c)],
                  5e-6 * test::largest(state));
      for (std::int64_t ago = 0; ago < 3; ++ago) {
        EXPECT_NEAR(run.saved.conv_in.f32()[(last - ago) * rnn + c],
                    inputs[static_cast<std::size_t>((s * 3 + 2 - ago) * rnn + c)],
                    5e-6 * test::largest(inputs));
      }
    }
  }
}

// Reading on from a state, in pieces that end inside of documents, is reading all at once.
TEST(Layers, RecurrentBlockInPieces) {
  for (const DType compute : test::kBothDTypes) {
    for (const bool decode : {false, true}) {
      for (const std::int64_t piece : {1, 3, 7}) {
        LayerRun<RecurrentBlock> run("recurrent_block_documents", compute);
        const Array whole = run.forward(0, run.length);
        State state(run.config, compute, run.sequences);
        for (std::int64_t begin = 0; begin < run.length; begin += piece) {
          const std::int64_t count = std::min(piece, run.length - begin);
          const Array y = run.forward(begin, count, &state, decode);
          std::vector<double> expected;
          for (std::int64_t s = 0; s < run.sequences; ++s) {
            for (std::int64_t t = 0; t < count; ++t) {
              for (std::int64_t c = 0; c < run.config.width; ++c)
                expected.push_back(whole(s * run.length + begin + t, c));
            }
          }
          expect_near(y, expected, compute == DType::kFloat32 ? 2e-6 : 1e-2, "y");
        }
      }
    }
  }
}

TEST(Layers, EmbeddingScaleOfTheUsualWidths) {
  const LayerFixture layer("embedding_scale");
  const auto widths = layer.ints("width");
  const auto scales = layer.values("scale");
  ASSERT_GT(widths.size(), 3u);
  for (std::size_t i = 0; i < widths.size(); ++i) {
    GriffinConfig config;
    config.width = widths[i];
    EXPECT_EQ(config.embedding_scale(), 1.0f);
    config.scale_embedding = true;
    EXPECT_EQ(config.embedding_scale(), scales[i]) << widths[i];
  }
}

}  // namespace
}  // namespace eyrie::model
