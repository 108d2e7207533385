// Results side by side.
#include "eval/compare.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "support/scratch_folder.h"

namespace eyrie::eval {
namespace {

using testing::HasSubstr;

void put(const base::Path& folder, const std::string& text) {
  base::make_directories(folder);
  base::write_file(folder / "results.json", text);
}

std::string results(const std::string& task, double value, const std::string& error) {
  return "{\"results\": {\"" + task + "\": {\"alias\": \"" + task +
         "\", \"acc,none\": " + std::to_string(value) + ", \"acc_stderr,none\": " + error +
         "}}, \"config\": {}}";
}

TEST(Compare, ATableOfTasksAndModels) {
  const test::ScratchFolder folder;
  put(folder / "step-1" / "piqa", results("piqa", 0.5, "0.01"));
  put(folder / "step-1" / "mmlu", results("mmlu", 0.25, "\"N/A\""));
  put(folder / "step-2", results("piqa", 0.55, "0.01"));
  put(folder / "step-3", results("piqa", 0.51, "0.01"));
  const std::string table =
      compare_table({read_scores(folder / "step-1"), read_scores(folder / "step-2/"),
                     read_scores(folder / "step-3" / "results.json")});
  EXPECT_EQ(table,
            "| task | metric | step-1          | step-2            | step-3          |\n"
            "|------|--------|-----------------|-------------------|-----------------|\n"
            "| mmlu | acc    | 0.2500          | -                 | -               |\n"
            "| piqa | acc    | 0.5000 ± 0.0100 | 0.5500 ± 0.0100 * | 0.5100 ± 0.0100 |\n");
}

TEST(Compare, WhatIsNoResultIsRefused) {
  const test::ScratchFolder folder;
  const auto refusal = [](const base::Path& path) -> std::string {
    try {
      read_scores(path);
    } catch (const base::InputError& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_THAT(refusal(folder / "nothing"), HasSubstr("there is no results.json"));
  put(folder / "other", "{\"loss\": 3}");
  EXPECT_THAT(refusal(folder / "other"), HasSubstr("it has no 'results'"));
  put(folder / "twice" / "a", results("piqa", 0.5, "0.01"));
  put(folder / "twice" / "b", results("piqa", 0.6, "0.01"));
  EXPECT_THAT(refusal(folder / "twice"), HasSubstr("other results for piqa"));
}

}  // namespace
}  // namespace eyrie::eval
