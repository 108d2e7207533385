// Initialisation: the law of every kind of parameter, and that a value is a function of seed, name
// and element alone.
#include "model/inference_parameters.h"
#include "model/training_parameters.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <set>

#include "model/griffin.h"
#include "tensor/threads.h"

namespace eyrie::model {
namespace {

using Values = std::vector<double>;

// Odd sizes, and large enough for sharp bounds on a variance.
GriffinConfig config_of(const std::string& layers, const std::string& init = "official") {
  GriffinConfig config;
  config.preset = "test";
  config.vocabulary = 997;
  config.width = 180;
  config.rnn_width = 210;
  config.mlp_width = 270;
  config.heads = 3;
  config.gate_blocks = 3;
  config.layers = layers;
  config.window = 8;
  config.init = init;
  return config;
}

std::map<std::string, Values> initial(const GriffinConfig& config, std::uint64_t seed) {
  const Griffin griffin(config);
  TrainingParameters parameters(griffin.units(), tensor::DType::kFloat32);
  parameters.initialise(seed);
  std::map<std::string, Values> all;
  for (std::size_t u = 0; u < griffin.units().size(); ++u) {
    for (const auto& row : griffin.units()[u].parameters) {
      const float* first = parameters.masters(u).f32() + row.offset;
      all[row.name] = Values(first, first + row.count());
    }
  }
  return all;
}

double normal_cumulative(double z) { return 0.5 * std::erfc(-z / std::sqrt(2.0)); }

// The largest distance of the sample's distribution from `cumulative`, times √count. One sample of
// the law itself is above 2.5 seven times in a million (Kolmogorov: 2 exp(−2 x²)); here are about a
// hundred.
double kolmogorov(Values sample, const std::function<double(double)>& cumulative) {
  std::sort(sample.begin(), sample.end());
  const auto count = static_cast<double>(sample.size());
  double most = 0;
  for (std::size_t i = 0; i < sample.size(); ++i) {
    const double at = cumulative(sample[i]);
    most = std::max(
        {most, at - static_cast<double>(i) / count, static_cast<double>(i + 1) / count - at});
  }
  return most * std::sqrt(count);
}
constexpr double kKolmogorov = 2.5;

// Mean and variance within four standard errors of normal(0, variance), and the shape by
// Kolmogorov's test.
void expect_normal(const Values& sample, double variance, const std::string& name) {
  const auto count = static_cast<double>(sample.size());
  ASSERT_GT(count, 800) << name;
  double sum = 0, squares = 0;
  for (const double v : sample) {
    sum += v;
    squares += v * v;
  }
  EXPECT_NEAR(sum / count, 0, 4 * std::sqrt(variance / count)) << name;
  EXPECT_NEAR(squares / count / variance, 1, 4 * std::sqrt(2 / count)) << name;
  const double deviation = std::sqrt(variance);
  EXPECT_LT(kolmogorov(sample, [&](double v) { return normal_cumulative(v / deviation); }),
            kKolmogorov)
      << name;
}

// a_param → a^power, which must be uniform in [low, high].
void expect_uniform_decay(const Values& a_param, double power, double low, double high,
                          const std::string& name) {
  Values decay;
  for (const double p : a_param) decay.push_back(std::exp(-power * std::log1p(std::exp(p))));
  const auto [least, most] = std::minmax_element(decay.begin(), decay.end());
  EXPECT_GE(*least, low - 1e-6) << name;
  EXPECT_LE(*most, high + 1e-6) << name;
  EXPECT_LT(kolmogorov(decay, [&](double v) { return (v - low) / (high - low); }), kKolmogorov)
      << name;
}

// All rows that end so, of all layers, as one sample.
Values together(const std::map<std::string, Values>& all, const std::string& end) {
  Values sample;
  for (const auto& [name, values] : all) {
    if (name.ends_with(end)) sample.insert(sample.end(), values.begin(), values.end());
  }
  return sample;
}

class Laws : public testing::TestWithParam<const char*> {};

TEST_P(Laws, OfEveryParameter) {
  const std::string init = GetParam();
  const GriffinConfig config = config_of("RRARG", init);
  const auto all = initial(config, 7);
  const double d = 180, r = 210, e = 270, last = 2.0 / 5;  // the final variance scale: 2 / layers
  const std::map<std::string, double> variances = {
      {"embedder/input_embedding", 1 / d},
      {"proj_q/kernel", 1 / d},
      {"proj_k/kernel", 1 / d},
      {"proj_v/kernel", 1 / d},
      {"proj_final/kernel", last / d},
      {"linear_x/kernel", 1 / d},
      {"linear_y/kernel", 1 / d},
      {"linear_out/kernel", last / r},
      {"conv_1d/w", 0.01 / 4},
      // The official code counts the blocks into the fan; LeCun's init of one block does not.
      {"input_gate/w", init == "paper" ? 3 / r : 1 / r},
      {"a_gate/w", init == "paper" ? 3 / r : 1 / r},
      {"ffw_up/w", 1 / (2 * d)},
      {"ffw_down/kernel", last / e}};
  std::set<std::string> known;
  for (const auto& [name, values] : all) {
    for (const auto& [end, variance] : variances) {
      if (!name.ends_with(end)) continue;
      expect_normal(values, variance, name);
      known.insert(name);
    }
    if (name.ends_with("a_param")) {
      known.insert(name);
    } else if (name.ends_with("/bias") || name.ends_with("/b") || name.ends_with("/scale")) {
      for (const double v : values) EXPECT_EQ(v, 0) << name;
      known.insert(name);
    }
  }
  EXPECT_EQ(known.size(), all.size()) << "a parameter whose law is not tested";
  const Values a_param = together(all, "a_param");
  ASSERT_EQ(a_param.size(), 3u * 210u);
  if (init == "paper") {
    expect_uniform_decay(a_param, 8, 0.9, 0.999, "a_param");
  } else {
    expect_uniform_decay(a_param, 2, 0.9 * 0.9, 0.999 * 0.999, "a_param");
  }
}

INSTANTIATE_TEST_SUITE_P(Initialisation, Laws, testing::Values("official", "paper"));

TEST(Initialisation, TheOtherParametersDoNotDependOnTheVariant) {
  const auto official = initial(config_of("RA"), 3), paper = initial(config_of("RA", "paper"), 3);
  for (const auto& [name, values] : official) {
    const bool differs = name.ends_with("_gate/w") || name.ends_with("a_param");
    EXPECT_EQ(values != paper.at(name), differs) << name;
  }
}

TEST(Initialisation, AFunctionOfSeedAndNameAlone) {
  const auto one = initial(config_of("RRARG"), 5);
  // The same names in a model of other layers; those that the number of layers scales are left out.
  const auto other = initial(config_of("RRA"), 5);
  int compared = 0;
  for (const auto& [name, values] : other) {
    if (name.ends_with("proj_final/kernel") || name.ends_with("linear_out/kernel") ||
        name.ends_with("ffw_down/kernel"))
      continue;
    EXPECT_EQ(values, one.at(name)) << name;
    ++compared;
  }
  EXPECT_GT(compared, 30);
  // Another seed, or another name, gives other numbers.
  const auto another = initial(config_of("RRARG"), 6);
  std::map<Values, std::string> seen;
  for (const auto& [name, values] : one) {
    if (std::all_of(values.begin(), values.end(), [](double v) { return v == 0; })) continue;
    EXPECT_NE(values, another.at(name)) << name;
    const Values beginning(values.begin(), values.begin() + 16);
    EXPECT_TRUE(seen.emplace(beginning, name).second) << name << " as " << seen[beginning];
  }
}

TEST(Initialisation, TheSameOnAnyThreads) {
  const int before = tensor::thread_count();
  tensor::set_thread_count(1);
  const auto one = initial(config_of("RAG"), 2);
  for (const int threads : {2, 3}) {
    tensor::set_thread_count(threads);
    EXPECT_EQ(initial(config_of("RAG"), 2), one) << threads;
  }
  tensor::set_thread_count(before);
}

// Rows of the same law are independent: no correlation beyond four standard errors.
TEST(Initialisation, ParametersAreNotCorrelated) {
  const auto all = initial(config_of("RRA"), 4);
  const auto correlation = [](const Values& x, const Values& y) {
    double xy = 0, xx = 0, yy = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      xy += x[i] * y[i];
      xx += x[i] * x[i];
      yy += y[i] * y[i];
    }
    return xy / std::sqrt(xx * yy) * std::sqrt(static_cast<double>(x.size()));
  };
  const auto block = [&](const std::string& name) { return all.at("blocks." + name); };
  EXPECT_LT(std::abs(correlation(block("0/recurrent_block/linear_x/kernel"),
                                 block("0/recurrent_block/linear_y/kernel"))),
            4);
  EXPECT_LT(std::abs(correlation(block("0/recurrent_block/linear_x/kernel"),
                                 block("1/recurrent_block/linear_x/kernel"))),
            4);
  EXPECT_LT(std::abs(correlation(block("2/attention_block/proj_k/kernel"),
                                 block("2/attention_block/proj_v/kernel"))),
            4);
}

// What inference keeps, stored or mapped, transposed or not, is what training computes with.
TEST(Parameters, InferenceKeepsTrainingsWeights) {
  const Griffin griffin(config_of("RAG"));
  for (const tensor::DType dtype : {tensor::DType::kFloat32, tensor::DType::kBFloat16}) {
    TrainingParameters training(griffin.units(), dtype);
    training.initialise(5);
    for (const bool transposed : {true, false}) {
      InferenceParameters stored(griffin.units(), dtype, transposed);
      InferenceParameters mapped(griffin.units(), dtype);
      for (std::size_t u = 0; u < griffin.units().size(); ++u) {
        for (std::size_t r = 0; r < griffin.units()[u].parameters.size(); ++r) {
          const auto& row = griffin.units()[u].parameters[r];
          const auto number = static_cast<int>(r);
          const float* values = training.masters(u).f32() + row.offset;
          // In two pieces where a row need not come by whole parts.
          const std::int64_t cut = row.linear ? row.count() / row.parts : row.count() / 3;
          stored.store(u, number, 0, {values, static_cast<std::size_t>(cut)});
          if (cut < row.count()) {
            stored.store(u, number, cut,
                         {values + cut, static_cast<std::size_t>(row.count() - cut)});
          }
          for (std::int64_t part = 0; part < row.parts; ++part) {
            const Weight expected = training.matrix(u, number, part);
            const Weight got = stored.matrix(u, number, part);
            EXPECT_EQ(got.transposed, row.linear && transposed);
            EXPECT_EQ(got.tensor.dtype(), expected.tensor.dtype());
            for (std::int64_t i = 0; i < expected.tensor.rows(); ++i) {
              for (std::int64_t j = 0; j < expected.tensor.columns(); ++j) {
                const auto value = [&](const tensor::Tensor& t, std::int64_t a, std::int64_t b) {
                  const std::int64_t at = a * t.stride() + b;
                  return t.dtype() == tensor::DType::kFloat32
                             ? t.f32()[at]
                             : tensor::to_float(t.as<tensor::BFloat16>()[at]);
                };
                ASSERT_EQ(got.transposed ? value(got.tensor, j, i) : value(got.tensor, i, j),
                          value(expected.tensor, i, j))
                    << row.name << " " << part << " " << i << " " << j;
              }
            }
            if (!row.product || !transposed) continue;
            mapped.map(u, number, part, got.tensor.data(), std::make_shared<int>(1));
            EXPECT_EQ(mapped.matrix(u, number, part).tensor.data(), got.tensor.data());
            EXPECT_EQ(mapped.matrix(u, number, part).transposed, got.transposed);
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace eyrie::model
