// Task files and their data: those that come with Eyrie, and small ones made for a test.
#include "text/task.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/file_input.h"
#include "support/scratch_folder.h"
#include "text/task_content.h"

namespace eyrie::text {
namespace {

const base::Path kSource = EYRIE_SOURCE_DIR;

TaskPlaces own_places() { return {kSource / "data/eval", {}}; }

// A folder with task files and data.
class Folder {
 public:
  void write(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories((folder_ / name).parent_path());
    std::ofstream(folder_ / name) << text;
  }
  TaskPlaces places() const { return {folder_.path(), {folder_.path()}}; }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  // What reading the items of `task` says.
  std::string refusal(const std::string& task = "quiz") const {
    return test::message_of<base::InputError>([&] { all_items(task, places()); });
  }

 private:
  test::ScratchFolder folder_;
};

constexpr const char* kQuiz = R"(
task: quiz
version: 1
data: {test: {file: quiz.jsonl}}
test_split: test
question: "{q}"
prompt: "Q: {q} A:"
choices: "{c}"
gold: "{a}"
metrics: [acc]
)";

std::string with(std::string text, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

TEST(OwnTasks, MmluHasEverySubject) {
  const auto tasks = open_tasks("mmlu", own_places());
  ASSERT_EQ(tasks.size(), 57u);
  std::size_t test = 0, dev = 0, validation = 0;
  for (const auto& task : tasks) {
    test += task->items("test").size();
    dev += task->items("dev").size();
    validation += task->items("validation").size();
  }
  EXPECT_EQ(test, 14042u);
  EXPECT_EQ(dev, 285u);
  EXPECT_EQ(validation, 1531u);
  EXPECT_EQ(open_tasks("mmlu_stem", own_places()).size(), 19u);
  EXPECT_EQ(open_tasks("mmlu_humanities", own_places()).size(), 13u);
  EXPECT_EQ(open_tasks("mmlu_social_sciences", own_places()).size(), 12u);
  EXPECT_EQ(open_tasks("mmlu_other", own_places()).size(), 13u);
}

TEST(OwnTasks, MmluItem) {
  const auto task = open_tasks("mmlu_high_school_us_history", own_places())[0];
  EXPECT_EQ(task->definition().alias, "high_school_us_history");
  EXPECT_EQ(task->definition().description,
            "The following are multiple choice questions (with answers) about high school us "
            "history.\n\n");
  const auto algebra = open_tasks("mmlu_abstract_algebra", own_places())[0];
  const TaskItem& item = algebra->items("test")[0];
  EXPECT_EQ(item.question,
            "Find the degree for the given field extension Q(sqrt(2), sqrt(3), sqrt(18)) over Q.");
  EXPECT_EQ(item.prompt, item.question + "\nA. 0\nB. 4\nC. 2\nD. 6\nAnswer:");
  EXPECT_EQ(item.choices, (std::vector<std::string>{"0", "4", "2", "6"}));
  EXPECT_EQ(item.targets, (std::vector<std::string>{"A", "B", "C", "D"}));
  EXPECT_EQ(item.gold, 1);
}

TEST(OwnTasks, HellaSwagAndPiqa) {
  const auto hellaswag = open_tasks("hellaswag", own_places())[0];
  EXPECT_EQ(hellaswag->splits(), std::vector<std::string>{"validation"});
  ASSERT_EQ(hellaswag->items("validation").size(), 10042u);
  EXPECT_EQ(hellaswag->items("validation")[0].prompt,
            "Roof shingle removal: A man is sitting on a roof. he");
  EXPECT_EQ(hellaswag->items("validation")[0].gold, 3);

  const auto piqa = open_tasks("piqa", own_places())[0];
  EXPECT_EQ(piqa->items("train").size(), 16113u);
  EXPECT_EQ(piqa->items("test").size(), 3084u);
  EXPECT_EQ(piqa->items("test")[5].gold, -1);
  const TaskItem& item = piqa->items("validation")[0];
  EXPECT_EQ(item.prompt,
            "Question: How do I ready a guinea pig cage for it's new occupants?\nAnswer:");
  EXPECT_EQ(item.gold, 0);
  EXPECT_EQ(item.index, 0);
  EXPECT_EQ(item.split, "validation");
  EXPECT_EQ(all_items("piqa", own_places()).size(), 16113u + 1838u + 3084u);
}

// Upstream's own preprocessing of documents with a context in two parts.
TEST(OwnTasks, HellaSwagOfItsAuthorsIsPreparedAsUpstream) {
  const Folder folder;
  std::string data;
  std::vector<nlohmann::json> references;
  std::ifstream lines(kSource / "tests/fixtures/eval/hellaswag_preprocess.jsonl");
  for (std::string line; std::getline(lines, line);) {
    references.push_back(nlohmann::json::parse(line));
    data += line + "\n";
  }
  ASSERT_GE(references.size(), 2u);
  folder.write("hellaswag_original/hellaswag_val.jsonl", data);
  folder.write("hellaswag_original/hellaswag_train.jsonl", data);
  const auto task = open_tasks("hellaswag_original", folder.places())[0];
  const auto& items = task->items("validation");
  ASSERT_EQ(items.size(), references.size());
  for (std::size_t i = 0; i < items.size(); ++i) {
    EXPECT_EQ(items[i].prompt, references[i]["query"]);
    EXPECT_EQ(items[i].choices, references[i]["choices"].get<std::vector<std::string>>());
    EXPECT_EQ(items[i].gold, references[i]["gold"]);
  }
}

TEST(OwnTasks, FilesMayBeCompressed) {
  const Folder folder;
  const base::Path packed = own_places().data / "hellaswag/hellaswag_val.jsonl.gz";
  base::FileInput input(packed);
  std::string plain;
  while (input.read(plain)) {
  }
  folder.write("hellaswag/hellaswag_val.jsonl", plain);
  const auto unpacked = open_tasks("hellaswag", folder.places())[0];
  const auto as_shipped = open_tasks("hellaswag", own_places())[0];
  EXPECT_EQ(unpacked->items("validation").size(), 10042u);
  EXPECT_EQ(content_of(unpacked->items("validation")), content_of(as_shipped->items("validation")));
}

TEST(OwnTasks, PartialScoringHasAPromptAChoice) {
  const Folder folder;
  const std::string line =
      R"({"sentence": "Sam beat Tom, so _ was glad. ", "option1": "Sam", "option2": "Tom", "answer": "2"})";
  folder.write("winogrande/train_xl.jsonl", line);
  folder.write("winogrande/validation.jsonl", line);
  const auto task = open_tasks("winogrande", folder.places())[0];
  const TaskItem& item = task->items("validation")[0];
  EXPECT_EQ(item.prompts,
            (std::vector<std::string>{"Sam beat Tom, so Sam", "Sam beat Tom, so Tom"}));
  EXPECT_EQ(item.prompt, "Sam beat Tom, so Tom");
  EXPECT_EQ(item.targets, (std::vector<std::string>{"was glad.", "was glad."}));
  EXPECT_EQ(item.gold, 1);
}

TEST(Tasks, TakeLabelsOfAnyKind) {
  const Folder folder;
  // ARC's labels may be letters or "1" to "4", from question to question; SIQA counts from 1.
  folder.write("quiz.yaml",
               with(kQuiz, "choices: \"{c}\"\ngold: \"{a}\"",
                    "choices: \"{c.text}\"\ngold: \"{a|strip}\"\ngold_labels: \"{c.label}\""));
  folder.write("quiz.jsonl",
               R"({"q": "x", "c": {"text": ["u", "v"], "label": ["A", "B"]}, "a": "B "}
{"q": "x", "c": {"text": ["u", "v"], "label": ["1", "2"]}, "a": "2"}

{"q": "x", "c": {"text": ["u", "v", "w"], "label": [1, 2, 3]}, "a": 1}
)");
  const auto items = all_items("quiz", folder.places());
  ASSERT_EQ(items.size(), 3u);
  EXPECT_EQ(items[0].gold, 1);
  EXPECT_EQ(items[1].gold, 1);
  EXPECT_EQ(items[2].gold, 0);
}

TEST(Tasks, ReadCsvWithAHeader) {
  const Folder folder;
  folder.write("quiz.yaml", with(with(kQuiz, "quiz.jsonl", "quiz.csv"), "choices: \"{c}\"",
                                 "choices: [\"{b}\", no]"));
  folder.write("quiz.csv", "q,b,a\n\"one, two\",yes,0\nthree,maybe,1\n");
  const auto items = all_items("quiz", folder.places());
  ASSERT_EQ(items.size(), 2u);
  EXPECT_EQ(items[0].question, "one, two");
  EXPECT_EQ(items[1].choices, (std::vector<std::string>{"maybe", "no"}));
}

TEST(Tasks, EqualDocumentsHaveEqualHashes) {
  const Folder folder;
  folder.write("quiz.yaml", kQuiz);
  folder.write("quiz.jsonl", R"({"q": "x", "c": ["u", "v"], "a": 0}
{"a": 0, "q": "x", "c": ["u", "v"]}
{"q": "x", "c": ["u", "v"], "a": 1}
)");
  const auto items = all_items("quiz", folder.places());
  EXPECT_EQ(items[0].document_hash, items[1].document_hash);
  EXPECT_NE(items[0].document_hash, items[2].document_hash);
}

TEST(Tasks, ANameOfTheUsersHidesEyriesOwn) {
  const Folder folder;
  folder.write("piqa.yaml", with(kQuiz, "task: quiz", "task: piqa"));
  folder.write("quiz.jsonl", R"({"q": "mine", "c": ["u", "v"], "a": 0})");
  EXPECT_EQ(all_items("piqa", folder.places())[0].question, "mine");
}

TEST(Groups, HoldTasksGroupsAndEachOther) {
  const Folder folder;
  folder.write("quiz.yaml", kQuiz);
  folder.write("group.yaml",
               "group: both\nversion: 1\nmetrics: [acc]\ntasks: [quiz, mmlu_stem, quiz]\n");
  folder.write("round.yaml", "group: round\nversion: 1\nmetrics: [acc]\ntasks: [turn]\n");
  folder.write("turn.yaml", "group: turn\nversion: 1\nmetrics: [acc]\ntasks: [round]\n");
  const TaskCatalog catalog = read_tasks({folder.places().task_directories});
  EXPECT_EQ(catalog.leaves("both").size(), 20u);
  EXPECT_EQ(catalog.leaves("both")[0], "quiz");
  EXPECT_EQ(test::message_of<base::InputError>([&] { catalog.leaves("round"); }),
            "the group round contains itself: round > turn");
}

TEST(WrongInput, UnknownTaskNamesTheNearest) {
  EXPECT_EQ(test::message_of<base::InputError>([] { open_tasks("helaswag", own_places()); }),
            "unknown task \"helaswag\"; did you mean \"hellaswag\"? (`eyrie eval list` lists all)");
}

TEST(WrongInput, MissingDataNamesFileAndFolder) {
  const test::ScratchFolder folder;
  EXPECT_EQ(test::message_of<base::InputError>([&] {
              open_tasks("piqa", {folder.path(), {}});
            }),
            (folder.path() / "piqa/train.jsonl").string() +
                ": not there; the task piqa needs it. Evaluation data was looked for in " +
                folder.path().string() + "; choose another folder with --data or EYRIE_EVAL_DATA");
}

TEST(WrongInput, TwoFilesOfOneName) {
  const Folder folder;
  folder.write("quiz.yaml", kQuiz);
  folder.write("quiz.jsonl", "");
  folder.write("quiz.jsonl.zst", "");
  EXPECT_EQ(folder.refusal(), folder.path("quiz.jsonl") + " and " + folder.path("quiz.jsonl.zst") +
                                  " are both there, and nobody knows whether they hold the same: "
                                  "remove one");
}

TEST(WrongInput, UnknownKeyNamesTheNearest) {
  const Folder folder;
  folder.write("quiz.yaml", with(kQuiz, "prompt:", "promt: x\nprompt:"));
  EXPECT_EQ(folder.refusal(),
            folder.path("quiz.yaml") + ":7: promt: unknown key; did you mean \"prompt\"?");
}

TEST(WrongInput, TaskFilesAreChecked) {
  const Folder folder;
  const auto refusal = [&](const std::string& yaml) {
    folder.write("quiz.yaml", yaml);
    const std::string message = folder.refusal();
    const std::string file = folder.path("quiz.yaml");
    return message.starts_with(file) ? message.substr(file.size()) : message;
  };
  EXPECT_EQ(refusal(with(kQuiz, "[acc]", "[acc, f1]")),
            ":10: metrics: unknown metric \"f1\"; known are acc, acc_norm, perplexity");
  EXPECT_EQ(refusal(with(kQuiz, "[acc]", "[perplexity]")),
            ":10: metrics: \"perplexity\" has no meaning for a task of this type");
  EXPECT_EQ(refusal(with(kQuiz, "test_split: test", "test_split: tset")),
            ":5: test_split: \"tset\" is not one of the splits under data");
  EXPECT_EQ(refusal(with(kQuiz, "test_split: test\n", "")),
            ": test_split: neither test_split nor validation_split says what to evaluate");
  EXPECT_EQ(refusal(with(kQuiz, "quiz.jsonl}", "quiz.jsonl, labelled: false}")),
            ":4: data: the split test is to be evaluated but has no labels");
  EXPECT_EQ(refusal(with(kQuiz, "version: 1", "version: 1\nsampler: firstn")),
            ":4: sampler: \"firstn\" is not one of default, first_n");
  EXPECT_EQ(refusal(with(kQuiz, "version: 1", "version: 1\nshots: -1")),
            ":4: shots: -1 is too small; it must be at least 0");
  EXPECT_EQ(refusal(with(kQuiz, "{q} A:", "{q A:")),
            ": prompt: \"Q: {q A:\": a { without its }; a brace that is meant is written twice");
}

TEST(WrongInput, DataFilesAreChecked) {
  const Folder folder;
  folder.write("quiz.yaml", kQuiz);
  const auto refusal = [&](const std::string& data) {
    folder.write("quiz.jsonl", data);
    const std::string message = folder.refusal();
    const std::string file = folder.path("quiz.jsonl");
    return message.starts_with(file) ? message.substr(file.size()) : message;
  };
  const std::string good = R"({"q": "x", "c": ["u", "v"], "a": 0})";
  EXPECT_EQ(refusal(good + "\n" + R"({"q": "x", "c": ["u", "v"], "a": 2})"),
            ":2: task quiz: the right answer \"2\" is none of the 2 choices");
  EXPECT_EQ(refusal(R"({"q": "x", "c": ["u"]})"),
            ":1: task quiz: " + folder.path("quiz.yaml") +
                ": gold: {a}: the document has no field \"a\"; it has q, c");
  EXPECT_EQ(refusal("[1]"), ":1: an object ({…}) is expected, not a list");
  EXPECT_EQ(refusal("\n"), ": no documents in it; copy the file again");
  EXPECT_TRUE(refusal(good + "\n" + good.substr(0, 12)).starts_with(":2:13: not JSON: "))
      << folder.refusal();
}

TEST(WrongInput, LabelsMustFitTheDocuments) {
  const Folder folder;
  folder.write("quiz.yaml",
               with(with(kQuiz, "quiz.jsonl}", "quiz.jsonl, labels: quiz.lst}"), "{a}", "{label}"));
  folder.write("quiz.jsonl",
               "{\"q\": \"x\", \"c\": [\"u\", \"v\"]}\n{\"q\": \"y\", \"c\": [\"u\", \"v\"]}\n");
  folder.write("quiz.lst", "0\n");
  EXPECT_EQ(folder.refusal(), folder.path("quiz.lst") + ": 1 labels for the 2 documents of " +
                                  folder.path("quiz.jsonl") + "; one a line is expected");
  folder.write("quiz.lst", "0\nx\n");
  EXPECT_EQ(folder.refusal(),
            folder.path("quiz.lst") + ":2: \"x\" is not a label (a whole number)");
  folder.write("quiz.lst", "0\n1\n");
  EXPECT_EQ(all_items("quiz", folder.places())[1].gold, 1);
}

TEST(WrongInput, CsvRowsMustFitTheColumns) {
  const Folder folder;
  folder.write("quiz.yaml", with(with(kQuiz, "quiz.jsonl", "quiz.csv"), "version: 1",
                                 "version: 1\ncolumns: [q, c, a]"));
  folder.write("quiz.csv", "x,u,0\ny,u\n");
  EXPECT_EQ(folder.refusal(),
            folder.path("quiz.csv") + ":2: 2 fields, but 3 columns are expected (q, c, a)");
}

TEST(Places, FollowTheEnvironment) {
  const Folder folder;
  setenv("EYRIE_EVAL_DATA", "/some/where", 1);
  EXPECT_EQ(default_evaluation_data(), "/some/where");
  EXPECT_EQ(TaskPlaces().data, "/some/where");
  unsetenv("EYRIE_EVAL_DATA");
  setenv("EYRIE_TASKS", "/some/where", 1);
  EXPECT_EQ(
      test::message_of<base::InputError>([] { own_task_directory(); }),
      "EYRIE_TASKS: /some/where is not a folder; name the folder with the task files (*.yaml)");
  folder.write("quiz.yaml", kQuiz);
  setenv("EYRIE_TASKS", folder.path("").c_str(), 1);
  EXPECT_EQ(read_tasks({}).names(), std::vector<std::string>{"quiz"});
  unsetenv("EYRIE_TASKS");
  EXPECT_EQ(test::message_of<base::InputError>([] { read_tasks({"/some/where"}); }),
            "/some/where: not a folder; task files (*.yaml) were looked for there");
}

}  // namespace
}  // namespace eyrie::text
