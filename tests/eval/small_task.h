// Small tasks in a folder of their own, a tokenizer of bytes, and a model whose answers are a
// function of the tokens alone.
#pragma once

#include <atomic>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "base/hash.h"
#include "eval/evaluate.h"
#include "support/scratch_folder.h"
#include "text/task.h"

namespace eyrie::test {

class TaskFolder {
 public:
  void write(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories((folder_ / name).parent_path());
    std::ofstream(folder_ / name) << text;
  }
  text::TaskPlaces places() const { return {folder_.path(), {folder_.path()}}; }
  std::shared_ptr<const text::Task> open(const std::string& name) const {
    return text::open_tasks(name, places())[0];
  }
  std::filesystem::path path(const std::string& name) const { return folder_ / name; }

  // A pool of shots of its own for a quiz, without any of its questions.
  void write_pool(const std::string& name, int documents) const {
    std::string lines, yaml;
    for (int i = 0; i < documents; ++i) {
      lines += R"({"q": ")" + name + " pool " + std::to_string(i) +
               R"(", "c": ["one", "é", "three"], "a": )" + std::to_string(i % 3) + "}\n";
    }
    write(name + ".pool.jsonl", lines);
    std::ifstream file(folder_ / (name + ".yaml"));
    yaml.assign(std::istreambuf_iterator<char>(file), {});
    const std::string before = "pool: {file: " + name;
    yaml.insert(yaml.find(before) + before.size(), ".pool");
    write(name + ".yaml", yaml);
  }

  // A task of `documents` questions with three choices of unequal length; `roles` are its split
  // keys and other keys.
  void write_quiz(const std::string& name, int documents,
                  const std::string& roles = "test_split: test") const {
    std::string lines;
    for (int i = 0; i < documents; ++i) {
      lines += R"({"q": ")" + name + " question " + std::to_string(i * i) +
               R"(", "c": ["one", "é", "three and )" + std::to_string(i) + R"("], "a": )" +
               std::to_string(i % 3) + "}\n";
    }
    write(name + ".jsonl", lines);
    write(name + ".yaml",
          "task: " + name + "\nversion: 1\ndata: {test: {file: " + name +
              ".jsonl}, pool: {file: " + name + ".jsonl}}\n" + roles +
              "\nquestion: \"{q}\"\nprompt: \"Q: {q}\\nA:\"\nchoices: \"{c}\"\ngold: \"{a}\"\n"
              "metrics: [acc, acc_norm]\n");
  }

 private:
  ScratchFolder folder_;
};

class HashModel : public model::LanguageModel {
 public:
  std::int32_t vocabulary() const override { return 300; }
  std::vector<model::Score> score(std::span<const model::ScoreRequest> requests,
                                  const model::ScoreProgress& progress) override {
    std::vector<model::Score> scores;
    for (const model::ScoreRequest& request : requests) {
      EXPECT_FALSE(request.context.empty());
      EXPECT_FALSE(request.continuation.empty());
      const std::uint64_t hash =
          base::hash_bytes(std::as_bytes(std::span(request.continuation)),
                           base::hash_bytes(std::as_bytes(std::span(request.context))));
      scores.push_back({-1.0 - static_cast<double>(hash % 100'000) / 777.0 *
                                   static_cast<double>(request.continuation.size()),
                        hash % 7 == 0});
      ++asked;
      const std::size_t last = scores.size() - 1;
      if (progress && !progress({&last, 1}, {&scores[last], 1})) break;
    }
    scores.resize(requests.size());
    return scores;
  }
  std::int64_t asked = 0;
};

}  // namespace eyrie::test
