// A build ends with all documents or with an error, whatever marks others leave beside it; and one
// job at a time builds into a folder.
#include <gtest/gtest.h>

#include <atomic>
#include <fstream>

#include <fmt/format.h>

#include "base/error.h"
#include "base/hash.h"
#include "base/owner.h"
#include "data_pipeline/build.h"
#include "support/scratch_folder.h"

namespace eyrie::data_pipeline {
namespace {

namespace fs = std::filesystem;

class BuildEnd : public testing::Test {
 protected:
  void SetUp() override {
    std::ofstream out(folder_.path() / "documents.jsonl");
    for (int d = 0; d < kDocuments; ++d)
      out << fmt::format("{{\"text\": \"document number {} of a few words\"}}\n", d);
  }
  DataConfig config(const std::string& more) const {
    auto yaml = base::Config::parse(
        fmt::format("tokenizer: bytes\noutput: {0}/shards\nshard_tokens: 2000\n{1}\n"
                    "sources: [{{name: web, files: {0}/documents.jsonl}}]\n",
                    folder_.path().string(), more),
        "data.yaml");
    return read_data_config(yaml);
  }
  Dataset build(int ranks, const std::string& more = "") const {
    const DataConfig same = config(more);
    Dataset dataset;
    parallel::run_in_process(ranks, [&](parallel::Communicator& world) {
      Dataset own = build_dataset(same, {}, world);
      if (world.rank() == 0) dataset = std::move(own);
    });
    return dataset;
  }
  // While `work` runs: makes the mark that `name` gives beside the first part, before it is
  // written.
  template <class Work, class Name>
  void with_mark(Work work, Name name) const {
    std::atomic<bool> made = false;
    base::set_fault_hook([&](std::string_view operation, const base::Path& path) {
      const fs::path parts = path.parent_path();
      if (operation == "create" && parts.filename().string().starts_with(".parts-") && !made) {
        std::error_code there;
        fs::create_directory(parts / name(), there);
        made = true;
      }
      return 0;
    });
    work();
    base::set_fault_hook(nullptr);
    EXPECT_TRUE(made);
  }
  std::string owners_mark() const {
    std::ifstream file(shards_ / ".owner-1");
    for (std::string line; std::getline(file, line);)
      if (line.starts_with("nonce: "))
        return "failed-" + base::hex(base::hash_text("1 " + line.substr(7)));
    return "failed-none";
  }

  static constexpr int kDocuments = 400;
  const test::ScratchFolder folder_;
  const fs::path shards_ = folder_.path() / "shards";
};

TEST_F(BuildEnd, AMarkOfSomebodyElseEndsNothing) {
  for (const int ranks : {1, 3}) {
    fs::remove_all(shards_);
    with_mark([&] { EXPECT_EQ(build(ranks).sources[0].counts.read, kDocuments); },
              [] { return "failed"; });
  }
}

TEST_F(BuildEnd, AMarkWithoutAFailureIsAnError) {
  for (const int ranks : {1, 3}) {
    fs::remove_all(shards_);
    with_mark(
        [&] {
          try {
            build(ranks);
            FAIL() << "it ended as if it were whole";
          } catch (const base::Error& error) {
            EXPECT_NE(std::string(error.what()).find("ended before all was read"),
                      std::string::npos)
                << error.what();
          }
        },
        [&] { return owners_mark(); });
    EXPECT_FALSE(fs::exists(shards_ / kDatasetFile));
    EXPECT_EQ(build(ranks).sources[0].counts.read, kDocuments);  // and goes on from there
  }
}

TEST_F(BuildEnd, OneJobAtATime) {
  {
    const base::FolderOwner owner(shards_, {});
    try {
      build(2);
      FAIL() << "two jobs in one folder";
    } catch (const base::InputError& error) {
      EXPECT_NE(std::string(error.what()).find("another job is at work on these shards: process"),
                std::string::npos)
          << error.what();
    }
  }
  EXPECT_EQ(build(2).sources[0].counts.read, kDocuments);
  // Finished shards may be asked for while somebody works there.
  const base::FolderOwner owner(shards_, {});
  EXPECT_EQ(build(1).sources[0].counts.read, kDocuments);
  EXPECT_THROW(build(1, "validation: 0.5"), base::InputError);
}

TEST_F(BuildEnd, RanksOfOtherSettingsAreRefusedByTheKey) {
  for (const auto& [key, value] :
       {std::pair{"validation", "0.5"}, {"largest_document", "2Mi"}, {"largest_piece", "1Mi"}}) {
    const DataConfig plain = config(""), other = config(fmt::format("{}: {}", key, value));
    try {
      parallel::run_in_process(2, [&](parallel::Communicator& world) {
        build_dataset(world.rank() == 0 ? plain : other, {}, world);
      });
      FAIL() << key;
    } catch (const base::InputError& error) {
      EXPECT_NE(std::string(error.what()).find(key), std::string::npos) << error.what();
    }
    EXPECT_FALSE(fs::exists(shards_ / kDatasetFile));
  }
}

TEST_F(BuildEnd, WhatCannotBeReadIsNotMadeAgain) {
  build(1);
  fs::remove(shards_ / kDatasetFile);
  fs::create_symlink(kDatasetFile, shards_ / kDatasetFile);  // a link to itself
  EXPECT_THROW(build(1), base::Error);
  EXPECT_TRUE(fs::is_symlink(shards_ / kDatasetFile));
}

}  // namespace
}  // namespace eyrie::data_pipeline
