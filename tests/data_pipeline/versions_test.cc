// Shards of all versions that were ever written: they are read as they were.
#include <gtest/gtest.h>

#include "data_pipeline/shard_set.h"

namespace eyrie::data_pipeline {
namespace {

TEST(Versions, AShardOfVersion1) {
  const base::Path folder = base::Path(EYRIE_SOURCE_DIR) / "tests/fixtures/versions/shard-1";
  const auto set = ShardSet::open(folder, {.tokenizer_file = "bytes", .tokenizer_hash = "bytes"});
  ASSERT_EQ(set->sources().size(), 1u);
  const ShardSet::Source& web = set->source("web");
  EXPECT_EQ(web.training.size(), 11u);
  EXPECT_EQ(web.validation.size(), 1u);
  const Shard& shard = web.shards.at(0);
  shard.verify();
  EXPECT_EQ(shard.content(), "d8e3b01d486f8a09");
  EXPECT_EQ(shard.documents(), 12);
  ASSERT_EQ(shard.tokens(), 1212);
  std::vector<std::int32_t> tokens(static_cast<std::size_t>(shard.offset(1) - shard.offset(0)));
  shard.read(0, tokens);
  std::string text;  // between BOS and EOS, byte b is token b
  for (std::size_t i = 1; i + 1 < tokens.size(); ++i) text += static_cast<char>(tokens[i]);
  EXPECT_EQ(text.substr(0, 9), "Document ") << text;
  EXPECT_NE(text.find(": a few words that differ, "), std::string::npos) << text;
}

}  // namespace
}  // namespace eyrie::data_pipeline
