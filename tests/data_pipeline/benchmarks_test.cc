// The exclusion against the real benchmarks in data/eval: planted items are removed, innocent
// documents stay.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "base/error.h"
#include "data_pipeline/build.h"
#include "data_pipeline/documents.h"
#include "data_pipeline/exclusion.h"
#include "data_pipeline/shard_set.h"
#include "data_pipeline/words.h"
#include "support/scratch_folder.h"

namespace eyrie::data_pipeline {
namespace {

const std::vector<std::string> kTasks = {"mmlu", "hellaswag", "piqa"};

// Read once for all tests of the program.
const ExclusionIndex& index_of_all() {
  static const ExclusionIndex index(kTasks, {}, {});
  return index;
}

std::vector<text::TaskItem> sample(const std::string& task, std::size_t count) {
  const std::vector<text::TaskItem> all = text::all_items(task, {});
  std::vector<text::TaskItem> some;
  for (std::size_t i = 0; i < count; ++i) some.push_back(all[i * (all.size() - 1) / (count - 1)]);
  return some;
}

std::vector<std::string> words_of(const std::string& text) {
  std::istringstream in(text);
  return {std::istream_iterator<std::string>(in), {}};
}

std::size_t count_words(const std::string& text) {
  Words words;
  split_words(text, Punctuation::kDelete, words);
  return words.hashes.size();
}

// Upper case, other punctuation and other white space.
std::string disguised(const std::string& text) {
  std::string result;
  int n = 0;
  for (const std::string& word : words_of(text)) {
    std::string shown = n % 2 == 0 ? "" : "\"";
    for (const char c : word)
      shown += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    result += shown + (n % 3 == 0 ? ";\n\n" : n % 3 == 1 ? " - " : "!\t ");
    ++n;
  }
  return result;
}

const std::string& filler() {
  static const std::string text = [] {
    std::string made;
    for (int i = 0; i < 3000; ++i)
      made += "The " + std::to_string(i * 7919 % 10007) + "th heron stood in the reeds. ";
    return made;
  }();
  return text;
}

struct Plant {
  std::string form, document;
};

std::vector<Plant> plants_of(const text::TaskItem& item) {
  if (item.gold < 0) return {};  // without labels; found by any of its choices
  std::vector<Plant> plants;
  const std::string answer = item.choices.at(item.gold);
  const std::string joined = item.question + " " + answer;
  if (count_words(joined) < kShortestWhole) return {};  // named in the report, not found
  plants.push_back({"verbatim", joined});
  plants.push_back({"rendered", item.prompt + " " + item.targets.at(item.gold)});
  plants.push_back({"disguised", disguised(joined)});
  plants.push_back({"in the middle", filler() + joined + ". " + filler()});
  if (count_words(item.question) >= kGramWords) plants.push_back({"question alone", item.question});
  // The shortest end of the question that makes 13 words with the answer.
  std::vector<std::string> words = words_of(item.question);
  if (count_words(joined) >= kGramWords && count_words(answer) < kGramWords) {
    std::string end = answer;
    while (count_words(end) < kGramWords) {
      end = words.back() + " " + end;
      words.pop_back();
    }
    if (count_words(end) == kGramWords) plants.push_back({"end with answer", "It says: " + end});
  }
  return plants;
}

TEST(Benchmarks, PlantedItemsAreFound) {
  const ExclusionIndex& index = index_of_all();
  for (const std::string& task : kTasks) {
    std::map<std::string, std::pair<int, int>> by_form;  // planted, missed
    std::string missed;
    for (const text::TaskItem& item : sample(task, 120)) {
      for (const Plant& plant : plants_of(item)) {
        Findings findings;
        auto& [planted, lost] = by_form[plant.form];
        ++planted;
        const bool found = index.screen(plant.document, findings);
        std::size_t group = 0;
        while (index.groups()[group].name != task) ++group;
        const std::string id = item.task + "/" + item.split + "/" + std::to_string(item.index);
        if (found && findings[group].items.contains(id)) continue;
        // A run of numbers is kept out of the index where its form has better windows; nothing else
        // may be missed.
        Words words;
        split_words(plant.document, Punctuation::kSplit, words);
        if (plant.form == "end with answer" &&
            std::count(words.verbal.begin(), words.verbal.end(), 1) < kVerbalWords + 2)
          continue;
        ++lost;
        missed += "\n" + id + " " + plant.form + ": " + plant.document.substr(0, 200);
      }
    }
    for (const auto& [form, counts] : by_form) {
      EXPECT_GT(counts.first, 5) << task << " " << form;
      EXPECT_EQ(counts.second, 0) << task << " " << form << missed;
    }
    EXPECT_EQ(by_form.size(), 6u) << task;
  }
}

TEST(Benchmarks, ShortPiqaGoalsAreFoundWithTheirAnswers) {
  const ExclusionIndex& index = index_of_all();
  int planted = 0;
  for (const text::TaskItem& item : text::all_items("piqa", {})) {
    if (item.gold < 0) continue;
    const std::string joined = item.question + " " + item.choices[item.gold];
    const std::size_t words = count_words(joined);
    if (words < kShortestWhole || words >= kGramWords) continue;
    if (++planted % 7 != 0) continue;
    Findings findings;
    EXPECT_TRUE(index.screen("A hint. " + joined + ". That was it.", findings)) << joined;
    EXPECT_TRUE(index.screen("Question: " + item.question + "\nAnswer: " + item.choices[item.gold],
                             findings))
        << joined;
  }
  EXPECT_GT(planted, 500);
}

// As people copy them: from the data file itself, mark-up and all.
TEST(Benchmarks, LinesOfTheOriginalFilesAreFound) {
  const ExclusionIndex& index = index_of_all();
  LineReader lines("data/eval/hellaswag/hellaswag_val.jsonl.gz");
  int missed = 0, tried = 0;
  for (std::string_view line; lines.next(line);) {
    if (lines.number() % 50 != 0) continue;
    const auto json = nlohmann::json::parse(line);
    const std::string document = json["ctx"].get<std::string>() + " " +
                                 json["endings"][json["label"].get<int>()].get<std::string>();
    Findings findings;
    ++tried;
    missed += !index.screen(document, findings);
  }
  EXPECT_GT(tried, 150);
  EXPECT_EQ(missed, 0);
}

TEST(Benchmarks, InnocentDocumentsStay) {
  const ExclusionIndex& index = index_of_all();
  Findings findings;
  for (const char* document : {
           "The following are multiple choice questions (with answers) about anatomy.",
           "Which of the following is not true? A. All of the above B. None of the above C. Both "
           "D. Neither Answer: A",
           "Question: How do you make a good sandwich?\nAnswer: with bread, butter, cheese and "
           "patience.",
           "The man is sitting on a roof. He looks at the sky, then he climbs down and goes home "
           "for his dinner.",
           "According to the passage, which of the following statements best describes the "
           "author's point of view?",
           "Find all values of x. Statement 1 is true. Statement 2 is false. True, True False, "
           "False True, False",
           "To be or not to be, that is the question.",
           "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20",
           "A. 0 B. 1 C. 2 D. 3 Answer: A. 0 B. 1 C. 2 D. 3 Answer: B",
       })
    EXPECT_FALSE(index.screen(document, findings)) << document;
  // Real documents that have nothing to do with the benchmarks.
  for (const char* file : {"data/raw/math.jsonl.zst", "data/raw/code.jsonl.zst"}) {
    LineReader lines(file);
    DocumentParser parser("text");
    for (std::string_view line; lines.next(line) && lines.number() < 1000;) {
      ASSERT_TRUE(parser.parse(line));
      ExclusionIndex::Match match;
      EXPECT_FALSE(index.screen(parser.text(), findings, &match))
          << file << ":" << lines.number() << " " << match.text;
    }
  }
}

TEST(Benchmarks, GroupsLeafTasksAndShortItemsAreNamed) {
  const ExclusionIndex& index = index_of_all();
  const std::vector<std::string> screened = index.screened_tasks();
  for (const char* task : {"mmlu", "mmlu_anatomy", "hellaswag", "piqa"})
    EXPECT_THAT(screened, testing::Contains(task));
  EXPECT_EQ(screened.size(), 57u + 3u);
  for (const ExclusionIndex::Group& group : index.groups()) {
    EXPECT_GT(group.items, 10000) << group.name;
    EXPECT_LT(group.too_short.size(), 1000u) << group.name;
  }
}

TEST(Benchmarks, ABuildRemovesPlantsAndItsShardsSayWhatTheyWereScreenedFor) {
  test::ScratchFolder folder;
  const text::TaskItem item = sample("piqa", 250)[77];
  std::string lines;
  const auto add = [&](const std::string& text) {
    lines += nlohmann::json{{"text", text}}.dump() + "\n";
  };
  for (int i = 0; i < 20; ++i) add("An innocent document, number " + std::to_string(i) + ".");
  add(filler() + item.question + " " + item.choices[item.gold]);
  base::write_file(folder / "web.jsonl", lines);
  const auto yaml = base::Config::parse(
      "tokenizer: data/tokenizers/small.model\noutput: " + (folder / "shards").string() +
          "\nvalidation: 0\nexclude: {tasks: [piqa]}\nsources: [{name: web, files: " +
          (folder / "web.jsonl").string() + "}]\n",
      "data.yaml");
  const auto world = parallel::open_single();
  const Dataset dataset = build_dataset(read_data_config(yaml), {}, *world);
  EXPECT_EQ(dataset.sources[0].counts.excluded, 1);
  EXPECT_EQ(dataset.sources[0].counts.written, 20);
  const auto report = nlohmann::json::parse(dataset.exclusion_report)["piqa"];
  EXPECT_EQ(report["documents"], 1);
  EXPECT_THAT(report["items_found"].get<std::vector<std::string>>(),
              testing::Contains("piqa/" + item.split + "/" + std::to_string(item.index)));
  ShardSet::open(folder / "shards", {"small.model", dataset.tokenizer_hash, {"piqa"}});
  EXPECT_THAT(test::message_of<base::InputError>([&] {
                ShardSet::open(folder / "shards",
                               {"small.model", dataset.tokenizer_hash, {"piqa", "mmlu"}});
              }),
              testing::AllOf(testing::HasSubstr("web-00000.h5"),
                             testing::HasSubstr("not screened for task mmlu")));
}

}  // namespace
}  // namespace eyrie::data_pipeline
