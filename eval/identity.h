// What results are of: the weights, the tasks with what is in them, and every setting that decides
// a number. Results stand for an evaluation only where all of it is the same.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/file.h"
#include "eval/evaluate.h"
#include "eval/task_plan.h"

namespace eyrie::eval {

// One JSON object: weights, step, precision, tokenizer, max_length, num_fewshot, limit, named (the
// tasks and groups as they were named, sorted), tasks (of each leaf: version, shots, documents,
// content), groups. It stands in results.json as "evaluated".
std::string identity_json(const EvaluateOptions& options, const text::Tokenizer& tokenizer,
                          const text::TaskCatalog& catalog,
                          const std::map<std::string, Plan>& plans);

// The limits as results.json gives them: null, a number, or an object by task.
std::string limits_json(const std::map<std::string, std::int64_t>& limits);

// In what two identities differ, for people: "step 20, now 60; limit 20, now 40"; "" where they are
// the same. `without_weights`: step, weights and precision are not compared.
std::string difference(const std::string& there, const std::string& now,
                       bool without_weights = false);

// The files of samples in a folder, sorted, and their names.
std::vector<base::Path> samples_in(const base::Path& directory);
std::string samples_name(const std::string& task);  // "samples_piqa.jsonl"
std::string task_of_samples(const base::Path& file);

// What lies in a folder where an evaluation is to write.
struct OutputThere {
  enum class Kind {
    kNothing,     // nothing of an evaluation
    kUnfinished,  // this very evaluation, begun and not ended
    kSame,        // its results
    kOther,       // results, samples or kept answers of something else; `what` says of what
  };
  Kind kind = Kind::kNothing;
  std::string what;
};
OutputThere look_into(const base::Path& directory, const std::string& identity,
                      bool without_weights = false);

}  // namespace eyrie::eval
