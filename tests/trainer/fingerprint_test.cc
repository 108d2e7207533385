// The weights of a run have one name on every mesh, in its checkpoint and in what is opened from
// there.
#include <gtest/gtest.h>

#include "checkpoint/checkpoint_weights.h"
#include "checkpoint/list.h"
#include "checkpoint/open_model.h"
#include "checkpoint/reader.h"
#include "model/weights/fingerprint.h"
#include "model/weights/initial_weights.h"
#include "support/mesh_run.h"
#include "trainer/trainer.h"
#include "trainer/training_model.h"

namespace eyrie::trainer {
namespace {

using parallel::MeshShape;

TEST(WeightsFingerprint, IsTheSameOnEveryMesh) {
  const test::TinyRun tiny;
  for (const char* precision : {"fp32", "bf16"}) {
    const auto run = tiny.config("fingerprint", {std::string("precision=") + precision});
    const std::string expected =
        model::fingerprint(model::InitialWeights(run.model, static_cast<std::uint64_t>(run.seed)));
    for (const MeshShape& shape : {MeshShape{},
                                   {.data = 4, .zero = 3},
                                   {.data = 2, .zero = 0},
                                   {.data = 4, .replicas = 2},
                                   {.data = 2, .context = 2, .zero = 2},
                                   {.data = 2, .tensor = 2, .sequence = true, .zero = 3}}) {
      parallel::run_in_process(shape.ranks(), [&](parallel::Communicator& world) {
        TrainingModel model(run, world, shape);
        model.initialise(static_cast<std::uint64_t>(run.seed));
        EXPECT_EQ(model.weights_fingerprint(), expected) << describe(shape) << " " << precision;
      });
    }
  }
}

TEST(WeightsFingerprint, OfACheckpointIsThatOfTheRun) {
  const test::TinyRun tiny;
  const auto run = tiny.config("saved");
  int ends = 0;
  train(run, *parallel::open_single(), {}, [&](const StageEnd&) { return ++ends > 0; });
  EXPECT_EQ(ends, 0) << "a stage without tasks is not evaluated";
  checkpoint::OpenModelOptions options;
  options.fingerprint = true;
  const checkpoint::OpenedModel opened = open_model(run.directory, options);
  EXPECT_EQ(opened.step, run.total_steps());
  parallel::run_in_process(2, [&](parallel::Communicator& world) {
    TrainingModel model(run, world, {.data = 2, .zero = 3});
    const checkpoint::CheckpointReader reader(
        checkpoint::checkpoint_path(run.directory, run.total_steps()));
    model.optimizer().load(reader);
    model.all_gather_parameters();
    EXPECT_EQ(model.weights_fingerprint(), opened.fingerprint);
  });
  EXPECT_NE(opened.fingerprint, model::fingerprint(checkpoint::CheckpointWeights(
                                    checkpoint::checkpoint_path(run.directory, 3))));
}

}  // namespace
}  // namespace eyrie::trainer
