// A data set and a run of a few steps, small enough to train many times in a test: bytes as tokens,
// two sources.
#pragma once

#include <fmt/format.h>

#include <fstream>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/philox.h"
#include "data_pipeline/build.h"
#include "parallel/communication/communicator.h"
#include "support/scratch_folder.h"
#include "trainer/run_config.h"

namespace eyrie::test {

// Documents of words, of odd lengths; an empty one and one of a single letter among them.
inline void write_documents(const std::filesystem::path& path, const char* purpose, int documents) {
  const base::Philox random(11, purpose);
  std::ofstream out(path);
  std::uint64_t at = 0;
  for (int d = 0; d < documents; ++d) {
    std::string text;
    const int words = d == 3 ? 0 : static_cast<int>(random.uniform(at++) * 40);
    for (int w = 0; w < words; ++w) {
      const int letters = 1 + static_cast<int>(random.uniform(at++) * 6);
      for (int l = 0; l < letters; ++l)
        text += static_cast<char>('a' + static_cast<int>(random.uniform(at++) * 9));
      text += ' ';
    }
    out << fmt::format("{{\"text\": \"{}\"}}\n", d == 5 ? "x" : text);
  }
}

class TinyRun {
 public:
  TinyRun() {
    base::make_directories(folder_.path() / "raw");
    write_documents(folder_.path() / "raw/web.jsonl", "web", 60);
    write_documents(folder_.path() / "raw/math.jsonl", "math", 40);
    auto yaml = base::Config::parse(
        fmt::format("tokenizer: bytes\noutput: {0}/shards\nshard_tokens: 2000\nvalidation: 0.1\n"
                    "sources:\n  - {{name: web, files: {0}/raw/web.jsonl}}\n"
                    "  - {{name: math, files: {0}/raw/math.jsonl}}\n",
                    folder_.path().string()),
        "data.yaml");
    data_pipeline::build_dataset(data_pipeline::read_data_config(yaml), {},
                                 *parallel::open_single());
  }

  std::filesystem::path path() const { return folder_.path(); }

  // RUN.yaml of two stages with 5 and 4 steps; `changes` as on the command line.
  trainer::RunConfig config(const std::string& name,
                            const std::vector<std::string>& changes = {}) const {
    const auto file = folder_.path() / (name + ".yaml");
    std::ofstream(file) << fmt::format(R"(name: {0}
directory: {1}/{0}
seed: 3
model: {{preset: griffin-10m, vocabulary: 258, width: 40, rnn_width: 56, mlp_width: 72, heads: 2, gate_blocks: 4, layers: RAR, window: 9}}
tokenizer: bytes
threads: 1
precision: fp32
stages:
  - name: first
    steps: 5
    batch_sequences: 8
    micro_shards: 4
    sequence_length: 37
    data: {{shards: {1}/shards, mixture: {{web: 0.7, math: 0.3}}}}
    learning_rate: {{peak: 1e-2, warmup: 2, final: 1e-3, shape: cosine}}
    validate: {{every: 2, sequences: 5}}
  - name: second
    steps: 4
    batch_sequences: 8
    micro_shards: 4
    sequence_length: 23
    data: {{shards: {1}/shards, best: 0.5}}
    learning_rate: {{peak: 1e-3, final: 0, shape: linear}}
    validate: {{sequences: 3}}
checkpoint: {{every: 3, keep: 10}}
)",
                                       name, folder_.path().string());
    return trainer::read_run(file, changes);
  }

 private:
  ScratchFolder folder_;
};

}  // namespace eyrie::test
