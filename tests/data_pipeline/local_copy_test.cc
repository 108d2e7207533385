#include "data_pipeline/local_copy.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "base/listing.h"
#include "data_pipeline/dataset.h"
#include "data_pipeline/shard_set.h"
#include "support/scratch_folder.h"

namespace eyrie::data_pipeline {
namespace {

using test::message_of;
using testing::HasSubstr;

class LocalCopyTest : public testing::Test {
 protected:
  void SetUp() override { build("first"); }

  // Two shards of one source; `build` names the build.
  void build(const std::string& build) {
    Dataset dataset;
    dataset.build = build;
    dataset.tokenizer_file = dataset.tokenizer_hash = "bytes";
    dataset.vocabulary = 300;
    dataset.exclusion_method = "none";
    SourceSummary source;
    source.name = "web";
    base::make_directories(shards_);
    for (std::int64_t index = 0; index < 2; ++index) {
      ShardDocuments documents;
      const std::vector<std::int32_t> tokens(70000 + build.size(), 7 + static_cast<int>(index));
      documents.add(tokens, 0.5, 11, false);
      const std::string file = fmt::format("web-{:05}.h5", index);
      const std::string content = write_shard(
          shards_ / file, {"web", index, 300, 1, 2, "bytes", {}, "none", "", {}, build}, documents);
      source.shards.push_back({file, 1, static_cast<std::int64_t>(tokens.size()), content});
    }
    dataset.sources = {source};
    write_dataset(shards_, dataset);
  }
  std::shared_ptr<const ShardSet> open() const {
    return ShardSet::open(shards_, {"bytes", "bytes"}, local_copy_of(shards_, local_));
  }
  static void damage(const base::Path& file) {
    std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
    stream.seekp(static_cast<std::streamoff>(std::filesystem::file_size(file) / 2));
    stream.write("damaged", 7);
  }

  test::ScratchFolder folder_;
  base::Path shards_ = folder_ / "shards", local_ = folder_ / "node/disk";
};

TEST_F(LocalCopyTest, IsMadeOnceAndRead) {
  const LocalCopy made = copy_to_local(shards_, local_);
  EXPECT_EQ(made.files_copied, 2);
  EXPECT_EQ(made.files_kept, 0);
  EXPECT_GT(made.bytes_copied, 2 * 2 * 70000);
  const LocalCopy again = copy_to_local(shards_, local_);
  EXPECT_EQ(again.files_copied, 0);
  EXPECT_EQ(again.files_kept, 2);
  const auto set = open();
  EXPECT_EQ(set->directory(), shards_);  // a run knows the data by where they come from
  EXPECT_EQ(set->source("web").shards.at(0).path().parent_path(), local_copy_of(shards_, local_));
  EXPECT_EQ(set->fingerprint({"web"}),
            ShardSet::open(shards_, {"bytes", "bytes"})->fingerprint({"web"}));
}

TEST_F(LocalCopyTest, ADamagedCopyIsNotUsed) {
  copy_to_local(shards_, local_);
  const base::Path file = local_copy_of(shards_, local_) / "web-00001.h5";
  const std::string whole = base::read_file(file);
  damage(file);
  const LocalCopy again = copy_to_local(shards_, local_);
  EXPECT_EQ(again.files_copied, 1);
  EXPECT_EQ(again.files_kept, 1);
  EXPECT_EQ(base::read_file(file), whole);
  std::filesystem::resize_file(file, 1000);
  EXPECT_EQ(copy_to_local(shards_, local_).files_copied, 1);
  EXPECT_EQ(base::read_file(file), whole);
}

TEST_F(LocalCopyTest, AnotherBuildNeverTakesItsPlace) {
  copy_to_local(shards_, local_);
  const base::Path before = local_copy_of(shards_, local_);
  build("second");
  EXPECT_NE(local_copy_of(shards_, local_), before);
  EXPECT_THROW(open(), base::InputError);  // not copied yet
  EXPECT_EQ(copy_to_local(shards_, local_).files_copied, 2);
  EXPECT_EQ(open()->source("web").shards.at(0).info().build, "second");
  // A shard of the other build, by its name: stale.
  std::filesystem::copy_file(before / "web-00000.h5",
                             local_copy_of(shards_, local_) / "web-00000.h5",
                             std::filesystem::copy_options::overwrite_existing);
  EXPECT_EQ(copy_to_local(shards_, local_).files_copied, 1);
  EXPECT_EQ(open()->source("web").shards.at(0).info().build, "second");
}

TEST_F(LocalCopyTest, ADamagedShardIsNamed) {
  damage(shards_ / "web-00001.h5");
  const std::string message = message_of<base::InputError>([&] { copy_to_local(shards_, local_); });
  EXPECT_THAT(message, HasSubstr("web-00001.h5"));
  EXPECT_THAT(message, HasSubstr("data inspect --verify"));
}

TEST_F(LocalCopyTest, AFolderWithoutABuildIsRefused) {
  std::filesystem::remove(shards_ / kDatasetFile);
  EXPECT_THROW(copy_to_local(shards_, local_), base::InputError);
  EXPECT_FALSE(base::is_there(local_));
}

}  // namespace
}  // namespace eyrie::data_pipeline
