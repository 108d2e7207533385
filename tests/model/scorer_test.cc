// Scores: equal to the loss of the same tokens, and the same bits whatever else is scored beside
// them.
#include "model/scorer.h"
#include "model/training_parameters.h"

#include <gtest/gtest.h>

#include "base/philox.h"
#include "support/loss.h"
#include "tensor/threads.h"

namespace eyrie::model {
namespace {

using tensor::DType;

GriffinConfig small() {
  GriffinConfig config = preset("griffin-10m");
  config.vocabulary = 97;
  config.width = config.rnn_width = 48;
  config.mlp_width = 80;
  config.heads = config.gate_blocks = 3;
  config.layers = "RRAR";
  config.window = 40;
  config.soft_cap = 30;
  return config;
}

struct Model {
  explicit Model(DType dtype) : griffin(small()), parameters(griffin.units(), dtype) {
    parameters.initialise(3);
  }
  Griffin griffin;
  TrainingParameters parameters;
};

std::vector<std::int32_t> tokens(const char* purpose, std::int64_t count) {
  const base::Philox random(7, purpose);
  std::vector<std::int32_t> ids;
  for (std::int64_t i = 0; i < count; ++i)
    ids.push_back(static_cast<std::int32_t>(random.uniform(static_cast<std::uint64_t>(i)) * 97));
  return ids;
}

// Four questions of one subject behind a long common prefix, with continuations of one and of
// several tokens; others alone.
std::vector<ScoreRequest> requests() {
  std::vector<ScoreRequest> all;
  const auto shots = tokens("shots", 150);
  for (int question = 0; question < 4; ++question) {
    auto context = shots;
    const auto own = tokens(("question" + std::to_string(question)).c_str(), 7 + 9 * question);
    context.insert(context.end(), own.begin(), own.end());
    for (std::int32_t letter = 0; letter < 4; ++letter) all.push_back({context, {letter + 10}});
    all.push_back({context, tokens("long answer", 5)});
    all.push_back({context, {10, 3, 4}});
  }
  for (int i = 0; i < 5; ++i) all.push_back({tokens("alone", 1 + 13 * i), tokens("end", 1 + i)});
  return all;
}

TEST(Scorer, AgreesWithTheLossOfTheSameTokens) {
  Model model(DType::kFloat32);
  Scorer scorer(model.griffin, model.parameters, 300);
  const auto all = requests();
  std::int64_t reported = 0;
  const auto scores = scorer.score(all, [&](std::span<const std::size_t> answered, auto) {
    reported += std::ssize(answered);
    return true;
  });
  EXPECT_EQ(reported, static_cast<std::int64_t>(all.size()));
  for (std::size_t r = 0; r < all.size(); ++r) {
    std::vector<std::int32_t> line = all[r].context, positions;
    line.insert(line.end(), all[r].continuation.begin(), all[r].continuation.end());
    std::vector<float> weight;
    for (std::size_t t = 0; t + 1 < line.size(); ++t) {
      positions.push_back(static_cast<std::int32_t>(t));
      weight.push_back(t + 1 >= all[r].context.size() ? 1.0f : 0.0f);
    }
    const auto n = static_cast<std::int64_t>(positions.size());
    const tensor::Tensor line_row = tensor::host_row(line);
    Workspace workspace;
    const double nll =
        test::loss_of(model.griffin, model.parameters,
                      {{1, n, line_row.column_range(0, n), tensor::host_row(positions)},
                       line_row.column_range(1, n),
                       tensor::host_row(weight)},
                      workspace);
    EXPECT_NEAR(scores[r].log_likelihood, -nll, 2e-5) << r;
  }
}

class Alone : public testing::TestWithParam<DType> {};

TEST_P(Alone, ARequestScoresTheSameBitsAloneAndInCompany) {
  Model model(GetParam());
  const auto all = requests();
  Scorer scorer(model.griffin, model.parameters, 300),
      wide(model.griffin, model.parameters, 100000);
  const auto together = scorer.score(all, {}), at_once = wide.score(all, {});
  tensor::set_thread_count(2);
  const auto threaded = scorer.score(all, {});
  tensor::set_thread_count(1);
  for (std::size_t r = 0; r < all.size(); ++r) {
    const auto alone = scorer.score({&all[r], 1}, {});
    EXPECT_EQ(alone[0].log_likelihood, together[r].log_likelihood) << r;
    EXPECT_EQ(at_once[r].log_likelihood, together[r].log_likelihood) << r;
    EXPECT_EQ(threaded[r].log_likelihood, together[r].log_likelihood) << r;
    EXPECT_EQ(alone[0].is_greedy, together[r].is_greedy) << r;
  }
}

INSTANTIATE_TEST_SUITE_P(DTypes, Alone, testing::Values(DType::kFloat32, DType::kBFloat16));

TEST(Scorer, GreedyFollowsTheArgmaxAndWrongTokensAreRefused) {
  Model model(DType::kFloat32);
  Scorer scorer(model.griffin, model.parameters);
  const auto context = tokens("context", 20);
  std::vector<ScoreRequest> each;
  for (std::int32_t token = 0; token < 97; ++token) each.push_back({context, {token}});
  const auto scores = scorer.score(each, {});
  std::size_t best = 0, greedy = 0;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    if (scores[i].log_likelihood > scores[best].log_likelihood) best = i;
    greedy += scores[i].is_greedy ? 1 : 0;
  }
  EXPECT_EQ(greedy, 1u);
  EXPECT_TRUE(scores[best].is_greedy);
  const std::vector<ScoreRequest> wrong = {{{1}, {97}}}, empty = {{{}, {1}}};
  EXPECT_THROW(scorer.score(wrong, {}), base::InputError);
  EXPECT_THROW(scorer.score(empty, {}), base::InputError);
}

}  // namespace
}  // namespace eyrie::model
