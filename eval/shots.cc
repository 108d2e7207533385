// Drawing the few-shot examples.
#include "eval/shots.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "text/python_random.h"

namespace eyrie::eval {

std::vector<std::vector<std::int64_t>> choose_shots(const text::Task& task, int shots,
                                                    std::int64_t documents) {
  std::vector<std::vector<std::int64_t>> chosen(static_cast<std::size_t>(documents));
  if (shots == 0) return chosen;
  const text::TaskDefinition& definition = task.definition();
  const std::vector<text::TaskItem>& pool = task.items(definition.shot_split());
  const auto size = static_cast<std::int64_t>(pool.size());
  const bool may_hold_itself = definition.sampler == text::ShotSampler::kRandom &&
                               definition.fewshot_split == definition.test_split;
  const std::int64_t drawn = shots + (may_hold_itself ? 1 : 0);
  const auto refuse = [&](std::int64_t there) {
    throw base::InputError(
        fmt::format("task {}: {} shots need {} documents, but the split {} has {}; ask for fewer",
                    task.name(), shots, drawn, definition.shot_split(), there));
  };
  if (drawn > size) refuse(size);

  if (definition.sampler == text::ShotSampler::kFirst) {
    std::vector<std::int64_t> first(static_cast<std::size_t>(shots));
    std::iota(first.begin(), first.end(), 0);
    std::fill(chosen.begin(), chosen.end(), first);
    return chosen;
  }

  const std::vector<text::TaskItem>& evaluated = task.items(definition.evaluated_split());
  text::PythonRandom random(kShotSeed);
  for (std::int64_t i = 0; i < documents; ++i) {
    std::vector<std::int64_t> one = random.sample(size, drawn);
    if (may_hold_itself) {
      const auto is_evaluated = [&](std::int64_t at) {
        return pool[at].document_hash == evaluated[i].document_hash;
      };
      std::erase_if(one, is_evaluated);
      if (static_cast<int>(one.size()) < shots) {
        // The document was drawn more than once: all are drawn again, from the others.
        std::vector<std::int64_t> others;
        for (std::int64_t at = 0; at < size; ++at) {
          if (!is_evaluated(at)) others.push_back(at);
        }
        const auto left = static_cast<std::int64_t>(others.size());
        if (shots > left) refuse(left);
        one = random.sample(left, shots);
        for (std::int64_t& at : one) at = others[at];
      }
      one.resize(static_cast<std::size_t>(shots));
    }
    chosen[i] = std::move(one);
  }
  return chosen;
}

}  // namespace eyrie::eval
