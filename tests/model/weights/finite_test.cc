// Weights that are no finite numbers: refused by their tensor's name and number, wherever they come
// in.
#include "model/weights/finite.h"
#include "model/inference_parameters.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "model/griffin.h"
#include "model/weights/hugging_face_writer.h"
#include "model/weights/initial_weights.h"
#include "model/weights/official_weights.h"
#include "model/weights/safetensors.h"
#include "support/fixture.h"
#include "support/scratch_folder.h"

namespace eyrie::model {
namespace {

using test::message_of;

constexpr float kInfinite = std::numeric_limits<float>::infinity();

TEST(Finite, CountsByTheBits) {
  std::vector<float> values(300'000, 1.5f);
  values[0] = kInfinite;
  values[299'999] = -kInfinite;
  values[7] = std::nanf("3");
  values[8] = std::numeric_limits<float>::max();
  values[9] = std::numeric_limits<float>::denorm_min();
  EXPECT_EQ(count_not_finite(values.data(), 300'000), 3);
  EXPECT_EQ(count_not_finite(values.data() + 10, 0), 0);
  for (const StoredType type :
       {StoredType::kFloat32, StoredType::kBFloat16, StoredType::kFloat16}) {
    values[8] = 1;
    std::vector<std::byte> stored(1 + 300'000 * static_cast<std::size_t>(size_of(type)));
    ASSERT_TRUE(narrow(type, values.data(), 300'000, stored.data() + 1));
    EXPECT_EQ(count_not_finite(type, stored.data() + 1, 300'000), 3) << name_of(type);
  }
}

// A source of which one row is damaged, so that writers put it into files.
class Damaged final : public WeightSource {
 public:
  Damaged(const GriffinConfig& config, std::string row, float value, std::int64_t count)
      : inner_(config, 1), row_(std::move(row)), value_(value), count_(count) {}
  const GriffinConfig& config() const override { return inner_.config(); }
  StoredType type() const override { return StoredType::kFloat32; }
  std::string description() const override { return "damaged"; }
  void read(const parallel::ParameterInfo& row, std::int64_t first, std::int64_t count,
            float* out) const override {
    inner_.read(row, first, count, out);
    if (row.name != row_) return;
    // Every fifth element, from the second on.
    for (std::int64_t i = 1, left = count_; left > 0; i += 5, --left)
      if (i >= first && i < first + count) out[i - first] = value_;
  }

 private:
  InitialWeights inner_;
  std::string row_;
  float value_;
  std::int64_t count_;
};

GriffinConfig small() {
  GriffinConfig config = preset("recurrentgemma-2b");
  config.vocabulary = 50;
  config.width = 24;
  config.rnn_width = 40;
  config.mlp_width = 56;
  config.heads = config.gate_blocks = 2;
  config.layers = "RA";
  config.window = 7;
  return config;
}

struct Case {
  const char* row;
  const char* tensor;
};
constexpr Case kCases[] = {
    {"embedder/input_embedding", "model.embed_tokens.weight"},
    {"blocks.0/recurrent_block/linear_x/kernel", "model.layers.0.temporal_block.linear_x.weight"},
    {"blocks.0/recurrent_block/rg_lru/a_param",
     "model.layers.0.temporal_block.rg_lru.recurrent_param"},
    {"blocks.1/mlp_block/ffw_up/w", "model.layers.1.mlp_block.gate_proj.weight"},
    {"final_norm/scale", "model.final_norm.weight"}};

// Converted, mapped for inference in the stored type, and read into another one.
TEST(Finite, ADirectoryIsRefusedHoweverItIsRead) {
  const test::ScratchFolder scratch;
  int number = 0;
  for (const Case& one : kCases) {
    for (const float value : {kInfinite, std::nanf("")}) {
      for (const StoredType type : {StoredType::kFloat32, StoredType::kBFloat16}) {
        const base::Path folder = scratch / std::to_string(++number);
        write_hugging_face(Damaged(small(), one.row, value, 3), folder, {.type = type});
        const HuggingFaceWeights weights(folder);
        const std::string expected =
            folder.string() + ": tensor " + one.tensor + " has 3 values of ";
        EXPECT_EQ(message_of<base::InputError>([&] {
                    write_hugging_face(weights, scratch / "out", {});
                  }).find(expected),
                  0u)
            << one.tensor;
        EXPECT_FALSE(std::filesystem::exists(scratch / "out/config.json"));
        std::filesystem::remove_all(scratch / "out");
        for (const tensor::DType compute : {tensor::DType::kFloat32, tensor::DType::kBFloat16}) {
          const Griffin griffin(weights.config());
          InferenceParameters parameters(griffin.units(), compute);
          EXPECT_EQ(message_of<base::InputError>([&] { weights.map(parameters); }).find(expected),
                    0u)
              << one.tensor << " in " << name_of(compute);
        }
      }
    }
  }
}

TEST(Finite, ValuesBeyondBf16AreRefusedThere) {
  const test::ScratchFolder scratch;
  write_hugging_face(Damaged(small(), kCases[1].row, 3.4e38f, 1), scratch / "in", {});
  const HuggingFaceWeights weights(scratch / "in");
  const Griffin griffin(weights.config());
  InferenceParameters wide(griffin.units(), tensor::DType::kFloat32);
  EXPECT_EQ(message_of<base::InputError>([&] { weights.map(wide); }), "nothing was thrown");
  InferenceParameters narrow(griffin.units(), tensor::DType::kBFloat16);
  EXPECT_NE(message_of<base::InputError>([&] {
              weights.map(narrow);
            }).find("linear_x/kernel has a value that is too large for bf16"),
            std::string::npos);
}

TEST(Finite, OfficialFilesAreRefused) {
  const test::ScratchFolder scratch;
  base::Path file = scratch / "official.h5";
  std::filesystem::copy(test::fixtures() / "griffin_tiny.h5", file);
  const hid_t opened = H5Fopen(file.c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
  const hid_t set = H5Dopen2(opened, "params/final_norm/scale", H5P_DEFAULT);
  ASSERT_GE(set, 0);
  std::vector<float> values(static_cast<std::size_t>(
      test::Fixture(test::fixtures() / "griffin_tiny.h5").shape("params/final_norm/scale")[0]));
  values[1] = kInfinite;
  ASSERT_GE(H5Dwrite(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()), 0);
  H5Dclose(set);
  H5Fclose(opened);
  const OfficialWeights weights(file, preset("recurrentgemma-2b"));
  EXPECT_NE(message_of<base::InputError>([&] {
              write_hugging_face(weights, scratch / "out", {});
            }).find("official.h5: tensor final_norm/scale has 1 value of"),
            std::string::npos);
}

}  // namespace
}  // namespace eyrie::model
