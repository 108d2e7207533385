// Retention: the newest, the milestones and the best stay; no damaged one stands for a sound one.
#include "checkpoint/retention.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "checkpoint/list.h"
#include "support/checkpoint_samples.h"

namespace eyrie::checkpoint {
namespace {

class Retained : public CheckpointFolder {
 protected:
  // Of each step with a validation loss (not a number: without one).
  void fill(const std::vector<std::pair<std::int64_t, double>>& steps) {
    for (const auto& [step, loss] : steps) {
      save_small(checkpoint_path(run_, step), step, 1,
                 std::isnan(loss) ? "{}" : fmt::format(R"({{"validation_loss": {}}})", loss));
    }
  }
  std::vector<std::int64_t> left() const {
    std::vector<std::int64_t> steps;
    for (const CheckpointInfo& info : list_checkpoints(run_ / "checkpoints"))
      steps.push_back(info.step);
    return steps;
  }
  using Steps = std::vector<std::int64_t>;
};

TEST_F(Retained, PruneKeepsTheNewestAndTheMilestones) {
  for (std::int64_t step : {10, 20, 25, 30, 40, 50}) save_small(checkpoint_path(run_, step), step);
  base::make_directories(checkpoint_path(run_, 45));   // a save that was interrupted
  base::make_directories(run_ / "checkpoints/notes");  // somebody's own
  base::make_directories(checkpoint_path(run_, 60));   // one that may be going on
  const std::vector<Path> removed = prune_checkpoints(run_, {2, 20, 0});
  EXPECT_EQ(std::set<Path>(removed.begin(), removed.end()),
            (std::set<Path>{checkpoint_path(run_, 45), checkpoint_path(run_, 30),
                            checkpoint_path(run_, 25), checkpoint_path(run_, 10)}));
  EXPECT_EQ(left(), (Steps{20, 40, 50, 60}));
  EXPECT_TRUE(std::filesystem::exists(run_ / "checkpoints/notes"));
}

TEST_F(Retained, TheEndsOfStagesStay) {
  for (std::int64_t step : {10, 20, 25, 30, 40}) save_small(checkpoint_path(run_, step), step);
  const Retention retention{.keep = 1, .stage_ends = {25, 35, 40}};
  const auto rows = apply_retention(run_, retention, false);
  std::vector<std::string> why;
  for (const RetentionDecision& row : rows) why.push_back(row.kept_for);
  EXPECT_EQ(why, (std::vector<std::string>{"", "", "end of a stage", "", "newest"}));
  prune_checkpoints(run_, retention);
  EXPECT_EQ(left(), (Steps{25, 40}));
}

TEST_F(Retained, PruneNeverLetsADamagedOneStandForASoundOne) {
  for (std::int64_t step : {1, 2, 3}) save_small(checkpoint_path(run_, step), step);
  overwrite(checkpoint_path(run_, 3) / "shard-0000.h5", "damaged");
  prune_checkpoints(run_, {0, 0, 0});
  EXPECT_EQ(newest_valid_checkpoint(run_), checkpoint_path(run_, 2));
  EXPECT_FALSE(std::filesystem::exists(checkpoint_path(run_, 1)));
}

TEST_F(Retained, TheBestByValidationLossStay) {
  const double none = std::nan("");
  fill({{1, none}, {2, 3.5}, {3, 2.5}, {4, 2.5}, {5, 2.75}, {6, none}, {7, 4}});
  const auto rows = apply_retention(run_, {1, 0, 2}, false);
  std::vector<std::string> why;
  for (const RetentionDecision& row : rows) why.push_back(row.kept_for);
  EXPECT_EQ(why, (std::vector<std::string>{"", "", "best", "best", "", "", "newest"}));
  EXPECT_EQ(left().size(), 7u);  // a plan changes nothing
  // Of equal ones the newer; a checkpoint may be newest and best at once.
  prune_checkpoints(run_, {1, 0, 1});
  EXPECT_EQ(left(), (Steps{4, 7}));
  prune_checkpoints(run_, {2, 0, 1});
  EXPECT_EQ(left(), (Steps{4, 7}));
  prune_checkpoints(run_, {1, 0, 0});
  EXPECT_EQ(left(), (Steps{7}));
}

TEST_F(Retained, ADamagedOneIsNotTheBest) {
  fill({{1, 2.0}, {2, 3.0}, {3, 9.0}, {4, 9.5}});
  overwrite(checkpoint_path(run_, 1) / "shard-0000.h5", "damaged");
  prune_checkpoints(run_, {1, 0, 1});
  EXPECT_EQ(left(), (Steps{2, 4}));
}

TEST_F(Retained, ThoroughlyTheNewestWithEveryChecksumCounts) {
  fill({{1, 2.0}, {2, 1.0}, {3, 3.0}});
  // Data that no opening looks at.
  const base::Hdf5Reader shard(checkpoint_path(run_, 3) / "shard-0000.h5", "");
  test::flip_bit(shard.path(), shard.offset("layer.w@0") + 3, 1);
  EXPECT_EQ(prune_checkpoints(run_, {1, 0, 0}, true), std::vector{checkpoint_path(run_, 1)});
  EXPECT_EQ(left(), (Steps{2, 3}));
  EXPECT_EQ(newest_valid_checkpoint(run_), checkpoint_path(run_, 2));
}

TEST_F(Retained, WithoutASoundOneNothingGoes) {
  fill({{1, 2.0}, {2, 1.0}, {3, 3.0}});
  for (std::int64_t step : {1, 2, 3})
    overwrite(checkpoint_path(run_, step) / "shard-0000.h5", "damaged");
  EXPECT_TRUE(prune_checkpoints(run_, {1, 0, 1}).empty());
  EXPECT_EQ(left().size(), 3u);
}

TEST_F(Retained, OneMovedAsideDoesNotComeBack) {
  fill({{1, 2.0}, {2, 3.0}});
  std::filesystem::copy(checkpoint_path(run_, 1), checkpoint_path(run_, 1).string() + ".replaced",
                        std::filesystem::copy_options::recursive);
  prune_checkpoints(run_, {1, 0, 0});
  EXPECT_EQ(left(), (Steps{2}));
}

TEST(ValidationLoss, IsReadFromTheState) {
  EXPECT_EQ(validation_loss_of(R"({"validation_loss": 2.5})"), 2.5);
  for (const char* state : {"{}", "[]", "no", R"({"validation_loss": null})",
                            R"({"validation_loss": "2"})", R"({"validation_loss": 1e999})"})
    EXPECT_EQ(validation_loss_of(state), std::nullopt) << state;
}

}  // namespace
}  // namespace eyrie::checkpoint
