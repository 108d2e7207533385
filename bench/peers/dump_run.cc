// dump_run RUN.yaml FOLDER STEPS [key.path=value …]: what another framework needs to train the same
// model on the same tokens: the initial weights and the first batches of the first stage, as raw
// little-endian arrays with a description in JSON.
#include <fmt/format.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/log.h"
#include "data_pipeline/next_token_stream.h"
#include "model/griffin.h"
#include "model/training_parameters.h"
#include "text/tokenizer.h"
#include "trainer/run_config.h"

int main(int argc, char** argv) try {
  using namespace eyrie;
  if (argc < 4) throw base::InputError("usage: dump_run RUN.yaml FOLDER STEPS [key.path=value …]");
  const trainer::RunConfig run = trainer::read_run(argv[1], {argv + 4, argv + argc});
  const base::Path folder = argv[2];
  const std::int64_t steps = std::stoll(argv[3]);
  const trainer::StageConfig& stage = run.stages[0];
  base::make_directories(folder);

  const model::Griffin griffin(run.model);
  model::TrainingParameters parameters(griffin.units(), tensor::DType::kFloat32);
  parameters.initialise(static_cast<std::uint64_t>(run.seed));
  nlohmann::ordered_json description{{"model", nlohmann::json::parse(model::to_json(run.model))},
                                     {"steps", steps},
                                     {"batch_sequences", stage.batch_sequences},
                                     {"sequence_length", stage.sequence_length},
                                     {"weight_decay", run.optimizer.weight_decay},
                                     {"beta1", run.optimizer.beta1},
                                     {"beta2", run.optimizer.beta2},
                                     {"epsilon", run.optimizer.epsilon},
                                     {"clip", run.optimizer.clip}};
  std::string weights;
  for (std::size_t u = 0; u < griffin.units().size(); ++u) {
    for (const auto& row : griffin.units()[u].parameters) {
      description["weights"].push_back({{"name", row.name},
                                        {"shape", row.shape},
                                        {"offset", weights.size()},
                                        {"decay", row.weight_decay}});
      weights.append(reinterpret_cast<const char*>(parameters.masters(u).f32() + row.offset),
                     static_cast<std::size_t>(row.count()) * 4);
    }
  }
  base::write_file(folder / "weights.bin", weights);

  const auto tokenizer = text::open_tokenizer(run.tokenizer);
  const auto shards =
      data_pipeline::ShardSet::open(stage.shards, {run.tokenizer, tokenizer->hash(), {}});
  data_pipeline::StreamConfig config{stage.mixture,
                                     stage.quality_fraction,
                                     stage.sequence_length,
                                     stage.batch_sequences,
                                     stage.micro_shards,
                                     static_cast<std::uint64_t>(run.seed),
                                     stage.name,
                                     data_pipeline::Packing::kDocuments};
  const data_pipeline::NextTokenStream stream(shards, config);
  std::string batches;  // per step: tokens, targets, positions (int32), loss mask (float32), each
                        // batch_sequences × sequence_length
  for (std::int64_t step = 0; step < steps; ++step) {
    std::string parts[4];
    for (std::int64_t m = 0; m < stage.micro_shards; ++m) {
      const auto batch = stream.rows_of(step, m);
      const auto add = [&](int part, const auto& values) {
        parts[part].append(reinterpret_cast<const char*>(values.data()), values.size() * 4);
      };
      add(0, batch.tokens);
      add(1, batch.targets);
      add(2, batch.positions);
      add(3, batch.loss_mask);
    }
    for (const std::string& part : parts) batches += part;
  }
  base::write_file(folder / "batches.bin", batches);
  base::write_file(folder / "run.json", description.dump(1));
  fmt::print("{}: {} bytes of weights, {} steps\n", folder.string(), weights.size(), steps);
  return 0;
} catch (const std::exception& error) {
  fmt::print(stderr, "dump_run: {}\n", error.what());
  return 2;
}
