// Validation and scoring on a training's mesh: the numbers of one rank, also where ranks have
// unequal work and fetch their weights from each other.
#include <gtest/gtest.h>

#include <mutex>

#include "generation/decoder.h"
#include "model/scorer.h"
#include "support/mesh_run.h"
#include "trainer/run_data.h"
#include "trainer/training_model.h"
#include "trainer/validation.h"

namespace eyrie::trainer {
namespace {

using parallel::MeshShape;

// A few requests that share prefixes, and some that do not.
std::vector<model::ScoreRequest> requests() {
  const base::Philox random(31, "mesh requests");
  std::uint64_t at = 0;
  const auto text = [&](int count) {
    std::vector<std::int32_t> tokens;
    for (int i = 0; i < count; ++i)
      tokens.push_back(static_cast<std::int32_t>(258 * random.uniform(at++)));
    return tokens;
  };
  std::vector<model::ScoreRequest> all;
  const auto shared = text(150);
  for (int i = 0; i < 11; ++i) {
    auto context = i % 3 == 0 ? shared : text(3 + 5 * i);
    all.push_back({context, text(1 + i % 4)});
  }
  return all;
}

struct Numbers {
  std::vector<double> scores;
  std::vector<bool> greedy;
  ValidationLoss validation;
};

Numbers numbers_on(const RunConfig& run, const MeshShape& shape) {
  const auto all = requests();
  Numbers numbers;
  numbers.scores.resize(all.size());
  numbers.greedy.resize(all.size());
  std::mutex mutex;
  parallel::run_in_process(shape.ranks(), [&](parallel::Communicator& world) {
    const RunData data = open_run_data(run);
    TrainingModel model(run, world, shape);
    model.initialise(5);
    // The last reader has nothing to do, the first the most.
    const parallel::Communicator& readers = model.mesh().data_context();
    std::vector<model::ScoreRequest> mine;
    std::vector<std::size_t> places;
    for (std::size_t i = 0; i < all.size(); ++i) {
      const auto sharing = static_cast<std::size_t>(std::max(readers.size() - 1, 1));
      if (i * i % sharing != static_cast<std::size_t>(readers.rank())) continue;
      mine.push_back(all[i]);
      places.push_back(i);
    }
    model::Scorer scorer(model.evaluation_model(), model.parameters(), 64);
    const auto scores = scorer.score(mine, {});
    const ValidationLoss validation =
        validation_loss(model.evaluation_model(), model.parameters(), *data.held_out[0], 5,
                        model.mesh().data_context(), model.workspace());
    const std::lock_guard lock(mutex);
    for (std::size_t i = 0; i < mine.size(); ++i) {
      numbers.scores[places[i]] = scores[i].log_likelihood;
      numbers.greedy[places[i]] = scores[i].is_greedy;
    }
    if (world.rank() == 0) numbers.validation = validation;
  });
  return numbers;
}

TEST(MeshEvaluation, TheNumbersOfOneRank) {
  const test::TinyRun tiny;
  for (const char* precision : {"fp32", "bf16"}) {
    const auto run = tiny.config("evaluation", {std::string("precision=") + precision});
    const Numbers one = numbers_on(run, {});
    const double tolerance = precision == std::string("fp32") ? 1e-5 : 2e-2;
    for (const MeshShape& shape : {MeshShape{.data = 4, .zero = 3},
                                   {.data = 2, .context = 2, .zero = 3},
                                   {.data = 2, .tensor = 2, .zero = 1},
                                   {.data = 2, .tensor = 2, .sequence = true, .zero = 3},
                                   {.context = 3, .zero = 2},
                                   {.data = 2, .zero = 0}}) {
      SCOPED_TRACE(describe(shape) + " " + precision);
      const Numbers got = numbers_on(run, shape);
      const bool same = shape.tensor == 1;  // whole sequences: the same bits
      for (std::size_t i = 0; i < one.scores.size(); ++i) {
        if (same) {
          EXPECT_EQ(got.scores[i], one.scores[i]) << i;
        } else {
          EXPECT_NEAR(got.scores[i], one.scores[i], tolerance * std::abs(one.scores[i])) << i;
        }
      }
      EXPECT_NEAR(got.validation.all, one.validation.all,
                  same ? 0 : tolerance * one.validation.all);
      EXPECT_EQ(got.validation.by_source.size(), 2u);
    }
  }
}

// A prompt read and continued greedily, every step past the window; logits of the last step.
std::pair<std::vector<std::int32_t>, std::vector<float>> generated_on(const RunConfig& run,
                                                                      const MeshShape& shape) {
  std::pair<std::vector<std::int32_t>, std::vector<float>> result;
  std::mutex mutex;
  parallel::run_in_process(shape.ranks(), [&](parallel::Communicator& world) {
    TrainingModel model(run, world, shape);
    model.initialise(5);
    generation::Decoder decoder(model.evaluation_model(), model.parameters(), 258);
    model::State state = decoder.empty_state(1);
    const std::vector<std::int32_t> prompt = {1, 70, 30, 99, 12, 5, 200};
    std::span<float> logits = decoder.read(prompt, state);
    std::vector<std::int32_t> tokens;
    for (int i = 0; i < 15; ++i) {
      tokens.push_back(static_cast<std::int32_t>(std::max_element(logits.begin(), logits.end()) -
                                                 logits.begin()));
      logits = decoder.step(std::span(tokens).last(1), state);
    }
    model.parameters().finish_passes();
    const std::lock_guard lock(mutex);
    if (result.first.empty()) result = {tokens, {logits.begin(), logits.end()}};
    EXPECT_EQ(tokens, result.first);
  });
  return result;
}

TEST(MeshEvaluation, GenerationOnTheTrainingsMesh) {
  const test::TinyRun tiny;
  const auto run = tiny.config("generation");
  const auto one = generated_on(run, {});
  for (const MeshShape& shape :
       {MeshShape{.data = 2, .zero = 3},
        {.tensor = 2},
        {.tensor = 2, .sequence = true, .zero = 3},
        {.data = 2, .context = 2, .tensor = 2, .sequence = true, .zero = 3}}) {
    const auto got = generated_on(run, shape);
    EXPECT_EQ(got.first, one.first) << describe(shape);
    ASSERT_EQ(got.second.size(), one.second.size());
    for (std::size_t i = 0; i < one.second.size(); ++i)
      EXPECT_NEAR(got.second[i], one.second[i], 1e-5) << describe(shape);
  }
}

}  // namespace
}  // namespace eyrie::trainer
