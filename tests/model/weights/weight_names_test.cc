// The table of names: complete, and the same in both directions.
#include "model/weights/weight_names.h"

#include <gtest/gtest.h>

#include <set>

#include "model/weights/weight_source.h"

namespace eyrie::model {
namespace {

GriffinConfig small() {
  GriffinConfig config = preset("griffin-10m");
  config.width = 8;
  config.rnn_width = 12;
  config.mlp_width = 20;
  config.heads = 2;
  config.gate_blocks = 3;
  config.vocabulary = 30;
  config.layers = "RAG";
  return config;
}

TEST(WeightNames, EveryRowHasNamesThatLeadBackToIt) {
  for (const Naming naming : {Naming::kFlax, Naming::kTorch, Naming::kHuggingFace}) {
    std::set<std::string> names;
    for (const auto& row : rows_of(small())) {
      std::int64_t count = 0;
      for (const NamedTensor& tensor : tensors_of(row, naming)) {
        EXPECT_TRUE(names.insert(tensor.name).second) << tensor.name;
        EXPECT_EQ(row_name_of(tensor.name, naming), row.name);
        EXPECT_EQ(tensor.part * tensor.count(), count) << tensor.name;
        count += tensor.count();
      }
      EXPECT_EQ(count, row.count()) << row.name;
    }
  }
}

NamedTensor find(const std::string& name, Naming naming) {
  for (const auto& row : rows_of(small())) {
    for (const NamedTensor& tensor : tensors_of(row, naming)) {
      if (tensor.name == name) return tensor;
    }
  }
  ADD_FAILURE() << "no tensor " << name;
  return {};
}

TEST(WeightNames, ShapesAreThoseOfTheReleases) {
  using Shape = std::vector<std::int64_t>;
  const auto hugging_face = [](const char* name) { return find(name, Naming::kHuggingFace).shape; };
  EXPECT_EQ(hugging_face("model.embed_tokens.weight"), (Shape{30, 8}));
  EXPECT_EQ(hugging_face("model.layers.0.temporal_block.conv_1d.weight"), (Shape{12, 1, 4}));
  EXPECT_EQ(hugging_face("model.layers.0.temporal_block.rg_lru.input_gate_weight"),
            (Shape{3, 4, 4}));
  EXPECT_EQ(hugging_face("model.layers.1.temporal_block.k_proj.weight"), (Shape{4, 8}));
  EXPECT_EQ(hugging_face("model.layers.2.mlp_block.gate_proj.weight"), (Shape{20, 8}));
  EXPECT_EQ(hugging_face("model.layers.2.mlp_block.up_proj.bias"), (Shape{20}));
  EXPECT_EQ(find("model.layers.2.mlp_block.up_proj.weight", Naming::kHuggingFace).part, 1);
  const auto torch = [](const char* name) { return find(name, Naming::kTorch).shape; };
  EXPECT_EQ(torch("blocks.0.recurrent_block.linear_out.weight"), (Shape{8, 12}));
  EXPECT_EQ(torch("blocks.1.mlp_block.ffw_up.w"), (Shape{2, 8, 20}));
  EXPECT_EQ(torch("blocks.0.recurrent_block.conv_1d.w"), (Shape{4, 12}));
}

TEST(WeightNames, SeparatorsAndRootsOfTheReleases) {
  const std::string row = "blocks.11/mlp_block/ffw_up/w";
  for (const char* name :
       {"blocks.11/mlp_block/ffw_up/w", "params/blocks.11/mlp_block/ffw_up/w",
        "/params/blocks.11/mlp_block/ffw_up/w", "params.blocks.11.mlp_block.ffw_up.w"}) {
    EXPECT_EQ(row_name_of(name, Naming::kFlax), row) << name;
  }
  EXPECT_EQ(row_name_of("params.embedder.input_embedding", Naming::kTorch),
            "embedder/input_embedding");
  for (const char* name : {"", "params", "blocks", "blocks.", "blocks..mlp_block.ffw_up.w",
                           "blocks.x.mlp_block.ffw_up.w", "blocks.1.mlp_block", "lm_head.weight",
                           "blocks.1.embedder.input_embedding", "mlp_block/ffw_up/w"}) {
    EXPECT_EQ(row_name_of(name, Naming::kFlax), std::nullopt) << name;
    EXPECT_EQ(row_name_of(name, Naming::kTorch), std::nullopt) << name;
    EXPECT_EQ(row_name_of(name, Naming::kHuggingFace), std::nullopt) << name;
  }
}

}  // namespace
}  // namespace eyrie::model
