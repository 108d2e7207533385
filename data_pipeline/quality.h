// The quality score of a document: one simple rule for every kind of text. Only the order within a
// source matters; a stage can train on the best-scored share of each source.
#pragma once

#include <cstdint>
#include <string_view>

#include "data_pipeline/words.h"

namespace eyrie::data_pipeline {

// Returns a score in [0, 1], the product of three factors, each of which is 1 for a good document:
//   length   min(1, words / 64): a document of a few words teaches little;
//   variety  the share of distinct runs among the first 1,000 runs of 4 words: lists, tables and
//            boilerplate repeat themselves;
//   wording  min(1, b / 4), where b is the number of non-white-space bytes per token: text made of
//            words that the tokenizer knows scores higher than numbers, base64 or broken encodings.
// `words` are those of the text, with punctuation that ends words; `tokens` is the number of its
// tokens, without BOS and EOS. Returns 0 for a text without words.
float quality_score(std::string_view text, const Words& words, std::int64_t tokens);

}  // namespace eyrie::data_pipeline
