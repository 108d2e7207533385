// Chooses the few-shot examples of a document exactly as lm-evaluation-harness does in a single
// process.
#pragma once

#include <cstdint>
#include <vector>

#include "text/task.h"

namespace eyrie::eval {

constexpr std::uint64_t kShotSeed = 1234;

// For each of the first `documents` documents of the task's evaluated split, returns indices into
// its pool of shots (the split TaskDefinition::shot_split) in prompt order. One random generator
// per task advances document by document, so the shots of a document depend neither on the ranks
// nor on the number of documents after it.
//
// The default sampler draws `shots` examples without replacement. It draws one more if
// lm-evaluation-harness assumes that the evaluated document may be in the pool (fewshot_split
// equals test_split, where both being unset counts as equal). The sampler first_n takes the first
// examples of the pool. A document is never among its own shots, whatever the splits are called;
// nor is one with the same text and the same answer. Such examples are left out. If too few remain,
// all shots are drawn again from the other examples (first_n: the next ones follow). Throws
// InputError if the pool is too small.
std::vector<std::vector<std::int64_t>> choose_shots(const text::Task& task, int shots,
                                                    std::int64_t documents);

}  // namespace eyrie::eval
