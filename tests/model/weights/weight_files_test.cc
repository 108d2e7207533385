// A directory that describes its weights or its model twice: refused, naming both.
#include "model/weights/weight_files.h"

#include <gtest/gtest.h>

#include <functional>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/json_text.h"
#include "model/weights/hugging_face_writer.h"
#include "model/weights/initial_weights.h"
#include "support/scratch_folder.h"

namespace eyrie::model {
namespace {

using test::message_of;

GriffinConfig small() {
  GriffinConfig config = preset("recurrentgemma-2b");
  config.vocabulary = 50;
  config.width = config.rnn_width = 24;
  config.mlp_width = 56;
  config.heads = config.gate_blocks = 2;
  config.layers = "RA";
  config.window = 7;
  return config;
}

class TwoDescriptions : public testing::Test {
 protected:
  TwoDescriptions() {
    write_hugging_face(InitialWeights(small(), 1), scratch_ / "one", {});
    write_hugging_face(InitialWeights(small(), 2), scratch_ / "many", {.shard_bytes = 9'000});
    for (const auto& entry : std::filesystem::directory_iterator(scratch_ / "many"))
      if (entry.path().extension() == ".safetensors") shards_.push_back(entry.path());
    std::sort(shards_.begin(), shards_.end());
  }

  // What opening says after a change of a copy of "one" or "many".
  std::string opening(const std::string& which,
                      const std::function<void(const base::Path&)>& change) {
    const base::Path folder = scratch_ / "changed";
    std::filesystem::remove_all(folder);
    std::filesystem::copy(scratch_ / which, folder);
    change(folder);
    return message_of<base::InputError>([&] { const HuggingFaceWeights weights(folder); });
  }
  static void replace(const base::Path& file, const std::string& before, const std::string& after) {
    std::string text = base::read_file(file);
    const std::size_t at = text.find(before);
    ASSERT_NE(at, std::string::npos) << before;
    base::write_file(file, text.replace(at, before.size(), after));
  }

  test::ScratchFolder scratch_;
  std::vector<base::Path> shards_;
};

void expect_in(const std::string& message, const std::vector<std::string>& texts) {
  for (const std::string& text : texts)
    EXPECT_NE(message.find(text), std::string::npos) << message << "\nhas no " << text;
}

TEST_F(TwoDescriptions, EachAloneIsOpened) {
  ASSERT_GT(shards_.size(), 3u);
  EXPECT_EQ(opening("one", [](const auto&) {}), "nothing was thrown");
  EXPECT_EQ(opening("many", [](const auto&) {}), "nothing was thrown");
  EXPECT_EQ(opening("one",
                    [](const auto& folder) {  // what is no model's weights
                      for (const char* name : {"optimizer.pt", "training_args.bin", "rng_state.pth",
                                               "adapter_model.safetensors", "notes.h5"})
                        base::write_file(folder / name, "x");
                    }),
            "nothing was thrown");
}

TEST_F(TwoDescriptions, OneFileAndAnIndex) {
  const auto all = [&](const base::Path& folder) {
    for (const auto& entry : std::filesystem::directory_iterator(scratch_ / "many"))
      std::filesystem::copy(entry.path(), folder / entry.path().filename(),
                            std::filesystem::copy_options::skip_existing);
  };
  expect_in(opening("one", all), {"model.safetensors.index.json", "model.safetensors;"});
  // The index was removed, its shards were not; and the other way round.
  expect_in(opening("one",
                    [&](const base::Path& folder) {
                      std::filesystem::copy(shards_[1], folder / shards_[1].filename());
                    }),
            {"model.safetensors", shards_[1].filename()});
  expect_in(opening("one",
                    [&](const base::Path& folder) {
                      std::filesystem::copy(scratch_ / "many/model.safetensors.index.json", folder);
                    }),
            {"model.safetensors.index.json", "is not there"});
}

TEST_F(TwoDescriptions, ShardsAndAnIndexThatDoNotFit) {
  expect_in(opening("many",
                    [&](const base::Path& folder) {
                      std::filesystem::remove(folder / shards_[2].filename());
                    }),
            {"weight_map names " + shards_[2].filename().string(), "which is not there"});
  expect_in(opening("many",
                    [&](const base::Path& folder) {
                      std::filesystem::copy(shards_[0],
                                            folder / "model-00001-of-00099.safetensors");
                    }),
            {"index.json", "model-00001-of-00099.safetensors"});
  // Two shards exchanged: the tensors are all there, but not where the index says.
  expect_in(opening("many",
                    [&](const base::Path& folder) {
                      std::filesystem::rename(folder / shards_[0].filename(), folder / "x");
                      std::filesystem::rename(folder / shards_[1].filename(),
                                              folder / shards_[0].filename());
                      std::filesystem::rename(folder / "x", folder / shards_[1].filename());
                    }),
            {"model.safetensors.index.json", "different saves"});
  expect_in(opening("many",
                    [&](const base::Path& folder) {
                      replace(folder / "model.safetensors.index.json",
                              "\"model.final_norm.weight\": \"", "\"model.gone.weight\": \"");
                    }),
            {"model.final_norm.weight", "nowhere"});
  expect_in(opening("many",
                    [&](const base::Path& folder) {
                      replace(folder / "model.safetensors.index.json", "\"weight_map\": {",
                              "\"weight_map\": {\"model.final_norm.weight\": \"a\",");
                    }),
            {"index.json", "\"model.final_norm.weight\" is there twice"});
}

TEST_F(TwoDescriptions, AnotherFormatBeside) {
  for (const char* name :
       {"pytorch_model.bin", "pytorch_model-00001-of-00002.bin", "model.npz", "flax_model.msgpack",
        "tf_model.h5", "model.pt", "consolidated.safetensors", "model.fp16.safetensors"}) {
    for (const char* which : {"one", "many"}) {
      expect_in(opening(which, [&](const auto& folder) { base::write_file(folder / name, "x"); }),
                {"weights are there twice", name});
    }
  }
  expect_in(opening("one",
                    [](const auto& folder) {
                      std::filesystem::rename(folder / "model.safetensors", folder / "model.npz");
                    }),
            {"model.safetensors: not there", "model.npz"});
}

TEST_F(TwoDescriptions, AConfigurationThatContradictsItself) {
  const auto with = [&](const std::string& before, const std::string& after) {
    return opening("one",
                   [&](const auto& folder) { replace(folder / "config.json", before, after); });
  };
  expect_in(with("\"hidden_size\"", "\"hidden_size\": 48, \"hidden_size\""),
            {"config.json", "\"hidden_size\" is there twice"});
  expect_in(with("\"head_dim\": 12", "\"head_dim\": 24"), {"config.json", "head_dim is 24"});
  expect_in(with("\"block_types\"", "\"_block_types\": [\"attention\"], \"block_types\""),
            {"config.json", "block_types and _block_types"});
}

TEST(JsonFile, OneObjectWithoutRepeatedKeys) {
  const test::ScratchFolder scratch;
  const auto read = [&](const std::string& text) {
    base::write_file(scratch / "x.json", text);
    return message_of<base::InputError>(
        [&] { base::read_json_object((scratch / "x.json").string()); });
  };
  EXPECT_EQ(read(R"({"a": {"b": 1}, "c": [{"b": 1}, {"b": 2}], "b": 3})"), "nothing was thrown");
  expect_in(read(R"({"a": {"b": 1, "c": [1], "b": 2}})"), {"x.json", "\"b\" is there twice"});
  expect_in(read(R"([1])"), {"x.json:1:1:", "object"});
  expect_in(read(R"({"a": )"), {"x.json:1:"});
}

}  // namespace
}  // namespace eyrie::model
