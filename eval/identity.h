// What results belong to: the weights, the tasks with their contents, and every setting that
// affects a number. Results are reused for an evaluation only if all of this is equal.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/file.h"
#include "eval/evaluate.h"
#include "eval/task_plan.h"

namespace eyrie::eval {

// Returns one JSON object with weights, step, precision, tokenizer, max_length, num_fewshot, limit,
// named (the tasks and groups as the user named them, sorted), tasks (for each leaf task: version,
// shots, documents, content) and groups. results.json has it as "evaluated".
std::string identity_json(const EvaluateOptions& options, const text::Tokenizer& tokenizer,
                          const text::TaskCatalog& catalog,
                          const std::map<std::string, TaskPlan>& plans);

// Returns the limits as in results.json: null, a number, or an object by task.
std::string limits_json(const std::map<std::string, std::int64_t>& limits);

// Describes how two identities differ: "step 20, now 60; limit 20, now 40"; "" if they are equal.
// With `without_weights`, step, weights and precision are not compared.
std::string difference(const std::string& there, const std::string& now,
                       bool without_weights = false);

// The sample files in a folder, sorted, and their names.
std::vector<base::Path> samples_in(const base::Path& directory);
std::string samples_name(const std::string& task);  // "samples_piqa.jsonl"
std::string task_of_samples(const base::Path& file);

// What the output folder of an evaluation already contains.
struct ExistingOutput {
  enum class Kind {
    kNothing,     // nothing from an evaluation
    kUnfinished,  // kept answers of this evaluation, which was begun but not finished
    kSame,        // the results of this evaluation
    // Results, samples or kept answers of another evaluation; `what` describes them.
    kOther,
  };
  Kind kind = Kind::kNothing;
  std::string what;
};
ExistingOutput inspect_output(const base::Path& directory, const std::string& identity,
                              bool without_weights = false);

}  // namespace eyrie::eval
