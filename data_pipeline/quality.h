// The quality score of a document: a simple rule, the same for every kind of text. Only the order
// within a source matters; the second stage of a run draws on the best share of each source.
#pragma once

#include <cstdint>
#include <string_view>

namespace eyrie::data_pipeline {

// In [0, 1], the product of three shares, each 1 for a good document:
//   length   min(1, words / 64): a document of a few words teaches little;
//   variety  the share of different runs of 4 words among the first 1,000 such runs: lists, tables
//   and boilerplate
//            repeat themselves;
//   wording  min(1, b / 4), b = bytes that are not white space per token: text in the words that
//   the tokenizer knows
//            against numbers, base64, broken encodings.
// `tokens`: of the text, without BOS and EOS. 0 for a text without words.
float quality_score(std::string_view text, std::int64_t tokens);

}  // namespace eyrie::data_pipeline
