// What happens to a document on its way into a shard, in order.
#include "data_pipeline/part_builder.h"

#include <algorithm>

#include "base/error.h"
#include "base/philox.h"
#include "data_pipeline/quality.h"
#include "data_pipeline/words.h"

namespace eyrie::data_pipeline {
namespace {

bool is_blank(std::string_view text) {
  return text.find_first_not_of(" \t\r\n") == std::string_view::npos;
}

// The utf8 filter: text that was broken before it came here (a replacement character, a zero byte).
bool broken_text(std::string_view text) {
  return text.find("\xEF\xBF\xBD") != std::string_view::npos ||
         text.find('\0') != std::string_view::npos;
}

}  // namespace

bool held_out(std::uint64_t document_hash, double share) {
  return base::Philox(0, "validation share").uniform(document_hash) < share;
}

PartBuilder::PartBuilder(const SourceConfig& source, const text::Tokenizer& tokenizer,
                         const ExclusionIndex& exclusion, double validation)
    : source_(source),
      tokenizer_(tokenizer),
      exclusion_(exclusion),
      validation_(validation),
      utf8_(std::find(source.filters.begin(), source.filters.end(), "utf8") !=
            source.filters.end()),
      parser_(source.text) {}

void PartBuilder::add(std::string_view line, const base::Path& file, std::int64_t number,
                      Part& part) {
  DocumentCounts& counts = part.counts;
  ++counts.read;
  if (!parser_.parse(line)) {
    if (utf8_ && parser_.not_utf8()) {
      ++counts.filtered;
    } else if (source_.skip_bad_lines) {
      ++counts.bad_lines;
    } else {
      throw base::InputError(
          at_line(file, number, parser_.column(),
                  parser_.problem() + " (on_error: skip in DATA.yaml passes over such lines)"));
    }
    return;
  }
  const std::string_view text = parser_.text();
  if (is_blank(text)) {
    ++counts.empty;
    return;
  }
  if (utf8_ && broken_text(text)) {
    ++counts.filtered;
    return;
  }
  if (exclusion_.screen(text, part.findings)) {
    ++counts.excluded;
    return;
  }
  const std::vector<std::int32_t> ids = tokenizer_.encode(text);
  document_.assign(1, tokenizer_.bos());
  document_.insert(document_.end(), ids.begin(), ids.end());
  document_.push_back(tokenizer_.eos());
  const std::uint64_t hash = document_hash(text);
  const bool held = held_out(hash, validation_);
  const auto tokens = static_cast<std::int64_t>(document_.size());
  part.documents.add(document_, quality_score(text, tokens - 2), hash, held);
  ++counts.written;
  counts.tokens += tokens;
  counts.validation += held;
  counts.validation_tokens += held ? tokens : 0;
}

}  // namespace eyrie::data_pipeline
