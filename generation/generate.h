// All requests in, all completions out, for callers that know their requests beforehand
// (text_generator.h and Generator take them one by one).
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "generation/decoder.h"
#include "generation/generator.h"
#include "generation/sampling.h"

namespace eyrie::generation {

struct GenerateOptions {
  SamplingOptions sampling = {};
  std::int64_t max_batch = 8;                 // sequences at once
  std::vector<std::int32_t> end_tokens = {};  // each ends a sample, and is its last token
  // For streaming; may be empty. Called with each new token of sample `sample` of
  // requests[request]. Returning false ends the sample.
  std::function<bool(std::size_t request, std::int64_t sample, std::int32_t token)> on_token = {};
};

struct Completion {
  std::vector<std::int32_t> tokens;  // the new tokens
  bool is_cut = false;               // it has max_new_tokens, and nothing else ended it
};

// Generates `samples` completions of every request; the requests' numbers must differ. Returns them
// by request and sample. They depend
// on the request, the sampling options and the request's `number` alone, not on the batch.
std::vector<std::vector<Completion>> generate(Decoder& decoder,
                                              std::span<const GenerationRequest> requests,
                                              const GenerateOptions& options);

}  // namespace eyrie::generation
