// An error is never "nothing there".
#include "base/listing.h"

#include <gtest/gtest.h>

#include <fstream>

#include "base/error.h"
#include "support/scratch_folder.h"

namespace eyrie::base {
namespace {

namespace fs = std::filesystem;

class Listing : public testing::Test {
 protected:
  void SetUp() override {
    fs::create_directory(at_ / "folder");
    std::ofstream(at_ / "folder/b") << "12345";
    std::ofstream(at_ / "folder/a");
    fs::create_symlink("round", at_ / "round");  // leads to itself: ELOOP, for every user
    fs::create_symlink("unmounted/place", at_ / "dangling");
  }
  template <class Work>
  std::string error_of(Work work) {
    try {
      work();
    } catch (const InputError& error) {
      return std::string("input: ") + error.what();
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }
  const test::ScratchFolder folder_;
  const Path at_ = folder_.path();
};

TEST_F(Listing, WhatIsThereAndWhatIsNot) {
  EXPECT_TRUE(is_there(at_ / "folder"));
  EXPECT_TRUE(is_folder(at_ / "folder"));
  EXPECT_FALSE(base::is_regular_file(at_ / "folder"));
  EXPECT_TRUE(base::is_regular_file(at_ / "folder/a"));
  EXPECT_EQ(bytes_of_file(at_ / "folder/b"), 5u);
  EXPECT_EQ(list_folder(at_ / "folder"), (std::vector<Path>{at_ / "folder/a", at_ / "folder/b"}));
  for (const char* none : {"none", "none/below", "folder/a/below"}) {
    EXPECT_FALSE(is_there(at_ / none)) << none;
    EXPECT_FALSE(is_folder(at_ / none)) << none;
    check_readable(at_ / none);
  }
  EXPECT_TRUE(list_folder(at_ / "none").empty());
  EXPECT_NE(error_of([&] { bytes_of_file(at_ / "none"); }).find("input: "), std::string::npos);
}

TEST_F(Listing, AnErrorIsToldWithThePath) {
  const Path round = at_ / "round";
  for (const std::string& error :
       {error_of([&] { is_there(round); }), error_of([&] { is_folder(round / "below"); }),
        error_of([&] { base::is_regular_file(round); }), error_of([&] { list_folder(round); }),
        error_of([&] { check_readable(round); }), error_of([&] { bytes_of_file(round); })}) {
    EXPECT_NE(error.find(round.string()), std::string::npos) << error;
    EXPECT_FALSE(error.starts_with("input")) << error;
  }
  EXPECT_NE(error_of([&] { list_folder(at_ / "folder/a"); }), "");
}

TEST_F(Listing, ALinkToNowhereIsNoEmptyPlace) {
  for (const std::string& error : {error_of([&] { is_there(at_ / "dangling"); }),
                                   error_of([&] { list_folder(at_ / "dangling"); })})
    EXPECT_NE(error.find("is a link to unmounted/place"), std::string::npos) << error;
}

}  // namespace
}  // namespace eyrie::base
