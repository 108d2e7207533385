// Draws the few-shot examples.
#include "eval/shots.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "text/python_random.h"

namespace eyrie::eval {
namespace {

// Returns whether `shot` is the evaluated document, or has the same text and the same answer.
bool tells_the_answer(const text::TaskItem& shot, const text::TaskItem& item) {
  if (shot.document_hash == item.document_hash) return true;
  return shot.gold >= 0 && item.gold >= 0 && shot.prompt == item.prompt &&
         shot.targets[static_cast<std::size_t>(shot.gold)] ==
             item.targets[static_cast<std::size_t>(item.gold)];
}

}  // namespace

std::vector<std::vector<std::int64_t>> choose_shots(const text::Task& task, int shots,
                                                    std::int64_t documents) {
  std::vector<std::vector<std::int64_t>> chosen(static_cast<std::size_t>(documents));
  if (shots == 0) return chosen;
  const text::TaskDefinition& definition = task.definition();
  const std::vector<text::TaskItem>& pool = task.items(definition.shot_split());
  const std::vector<text::TaskItem>& evaluated = task.items(definition.evaluated_split());
  const auto size = static_cast<std::int64_t>(pool.size());
  const bool drawn_anew = definition.sampler == text::ShotSampler::kRandom;
  const bool one_more = drawn_anew && definition.fewshot_split == definition.test_split;
  const std::int64_t drawn = shots + (one_more ? 1 : 0);
  const auto refuse = [&](std::int64_t needed, std::int64_t there, const std::string& which) {
    throw base::InputError(
        fmt::format("task {}: {} shots need {} documents, but the split {} has {}{}; ask for fewer",
                    task.name(), shots, needed, definition.shot_split(), there, which));
  };
  if (drawn > size) refuse(drawn, size, "");
  text::PythonRandom random(kShotSeed);
  for (std::int64_t i = 0; i < documents; ++i) {
    const auto tells = [&](std::int64_t at) { return tells_the_answer(pool[at], evaluated[i]); };
    std::vector<std::int64_t>& one = chosen[i];
    if (drawn_anew) {
      one = random.sample(size, drawn);
    } else {
      one.resize(static_cast<std::size_t>(shots));
      std::iota(one.begin(), one.end(), 0);
    }
    std::erase_if(one, tells);
    if (static_cast<int>(one.size()) < shots) {
      // Too few are left: draw all of them again from the others.
      std::vector<std::int64_t> others;
      for (std::int64_t at = 0; at < size; ++at) {
        if (!tells(at)) others.push_back(at);
      }
      const auto left = static_cast<std::int64_t>(others.size());
      if (shots > left)
        refuse(shots, left, fmt::format(" that do not tell the answer of document {}", i));
      if (drawn_anew) {
        one = random.sample(left, shots);
        for (std::int64_t& at : one) at = others[at];
      } else {
        one.assign(others.begin(), others.begin() + shots);
      }
    }
    one.resize(static_cast<std::size_t>(shots));
  }
  return chosen;
}

}  // namespace eyrie::eval
