// Collects what the generator streams.
#include "generation/generate.h"

#include <algorithm>
#include <map>
#include <optional>

#include "base/error.h"

namespace eyrie::generation {

std::vector<std::vector<Completion>> generate(Decoder& decoder,
                                              std::span<const GenerationRequest> requests,
                                              const GenerateOptions& options) {
  std::vector<std::vector<Completion>> completions;
  std::map<std::uint64_t, std::size_t> places;  // by the request's number
  for (const GenerationRequest& request : requests) {
    const bool is_new = places.emplace(request.number, completions.size()).second;
    EYRIE_CHECK(is_new, "two requests have the same number");
    completions.emplace_back(static_cast<std::size_t>(request.samples));
  }
  std::size_t next = 0;
  const auto next_request = [&]() -> std::optional<GenerationRequest> {
    if (next == requests.size()) return std::nullopt;
    return requests[next++];
  };
  const auto on_token = [&](std::uint64_t number, std::int64_t sample, std::int32_t token) {
    const std::size_t request = places.at(number);
    completions[request][static_cast<std::size_t>(sample)].tokens.push_back(token);
    const auto& ends = options.end_tokens;
    bool goes_on = std::find(ends.begin(), ends.end(), token) == ends.end();
    if (options.on_token) goes_on = options.on_token(request, sample, token) && goes_on;
    return goes_on;
  };
  const auto on_finish = [&](std::uint64_t number, std::int64_t sample, bool whole,
                             const model::State&, std::int64_t) {
    Completion& done = completions[places.at(number)][static_cast<std::size_t>(sample)];
    const auto& ends = options.end_tokens;
    const bool ended = !done.tokens.empty() &&
                       std::find(ends.begin(), ends.end(), done.tokens.back()) != ends.end();
    done.is_cut = whole && !ended;
  };
  Generator(decoder, options.sampling, options.max_batch).run(next_request, on_token, on_finish);
  return completions;
}

}  // namespace eyrie::generation
