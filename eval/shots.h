// Which examples stand in front of a question, exactly as lm-evaluation-harness draws them in one
// process.
#pragma once

#include <cstdint>
#include <vector>

#include "text/task.h"

namespace eyrie::eval {

constexpr std::uint64_t kShotSeed = 1234;

// For each of the first `documents` documents of the task's evaluated split: indices into its pool
// of shots (the split TaskDefinition::shot_split), in the order of the prompt. One generator a
// task, advanced document by document, so the shots of a document depend neither on ranks nor on
// how many documents follow.
//
// By the default sampler `shots` are drawn without replacement; where the evaluated document may be
// in the pool by lm-evaluation-harness's reckoning (fewshot_split equals test_split, and neither
// being set counts as equal) one more is drawn. By first_n: the first of the pool. A document is
// never among its own shots, whatever the splits are called, nor is one that reads the same and has
// the same answer: such a one is left out, and where too few are left, all are drawn again from the
// others (by first_n: the next ones follow). InputError: the pool is too small.
std::vector<std::vector<std::int64_t>> choose_shots(const text::Task& task, int shots,
                                                    std::int64_t documents);

}  // namespace eyrie::eval
