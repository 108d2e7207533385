// The steps that a document goes through on its way into a shard, in order.
#include "data_pipeline/block_builder.h"

#include <fmt/format.h>

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

// The utf8 filter: detects text that was already broken in the input (a replacement character or a
// zero byte).
bool broken_text(std::string_view text) {
  return text.find("\xEF\xBF\xBD") != std::string_view::npos ||
         text.find('\0') != std::string_view::npos;
}

}  // namespace

bool held_out(std::uint64_t document_hash, double share) {
  return base::Philox(0, "validation share").uniform(document_hash) < share;
}

std::size_t hold_out_from(std::string_view text, double share) {
  const auto inside = [](char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; };
  auto cut = static_cast<std::size_t>(static_cast<double>(text.size()) * (1 - share));
  while (cut > 0 && cut < text.size() && inside(text[cut])) --cut;
  const bool whole = is_blank(text.substr(0, cut)) || is_blank(text.substr(cut));
  return whole ? text.size() : cut;
}

BlockBuilder::BlockBuilder(const SourceConfig& source, const text::Tokenizer& tokenizer,
                           const ExclusionIndex& exclusion, double validation,
                           std::size_t largest_piece)
    : source_(source),
      tokenizer_(tokenizer),
      exclusion_(exclusion),
      validation_(validation),
      largest_piece_(largest_piece),
      utf8_(std::find(source.filters.begin(), source.filters.end(), "utf8") !=
            source.filters.end()),
      parser_(source.text) {}

// Handles a line or text that is not a document: it is counted, or the build ends.
void BlockBuilder::refuse(const base::Path& file, const BadLine& bad, bool not_utf8,
                          TokenizedBlock& part) const {
  if (utf8_ && not_utf8) {
    ++part.counts.filtered;
  } else if (source_.skip_bad_lines) {
    ++part.counts.bad_lines;
    if (part.bad_lines.size() < kNamedBadLines) part.bad_lines.push_back(bad);
  } else {
    throw base::InputError(fmt::format("{} (on_error: skip in DATA.yaml passes over such {})",
                                       at_line(file, bad.line, bad.column, bad.reason),
                                       source_.format == Format::kText ? "files" : "lines"));
  }
}

void BlockBuilder::add_line(std::string_view line, const base::Path& file, std::int64_t number,
                            const std::string& problem, TokenizedBlock& part) {
  ++part.counts.read;
  if (!problem.empty()) return refuse(file, {number, 0, problem}, false, part);
  if (!parser_.parse(line))
    return refuse(file, {number, parser_.column(), parser_.problem()}, parser_.not_utf8(), part);
  try {
    screen(parser_.text(), part);
  } catch (const text::UncutText& error) {
    refuse(file, {number, 0, error.what()}, false, part);
  }
}

void BlockBuilder::add_text(std::string_view text, const base::Path& file,
                            const std::string& problem, TokenizedBlock& part) {
  ++part.counts.read;
  const std::size_t broken = first_broken_byte(text);
  if (!problem.empty()) return refuse(file, {1, 0, problem}, broken < text.size(), part);
  if (broken == text.size()) {
    try {
      return screen(text, part);
    } catch (const text::UncutText& error) {
      return refuse(file, {1, 0, error.what()}, false, part);
    }
  }
  const std::string_view before = text.substr(0, broken);
  const auto line = std::count(before.begin(), before.end(), '\n') + 1;
  const std::size_t line_break = before.rfind('\n');
  const std::size_t line_begin = line_break == before.npos ? 0 : line_break + 1;
  refuse(file,
         {line, static_cast<std::int64_t>(broken - line_begin) + 1,
          fmt::format("byte 0x{:02X} is not UTF-8", static_cast<unsigned char>(text[broken]))},
         true, part);
}

void BlockBuilder::screen(std::string_view text, TokenizedBlock& part) {
  DocumentCounts& counts = part.counts;
  if (is_blank(text)) {
    ++counts.empty;
    return;
  }
  if (utf8_ && broken_text(text)) {
    ++counts.filtered;
    return;
  }
  scan_document(text, words_);
  if (exclusion_.screen(text, words_, part.findings)) {
    ++counts.excluded;
    return;
  }
  if (source_.hold_out == HoldOut::kDocuments)
    return write(text, encode(text), held_out(words_.hash, validation_), part);
  const std::size_t cut = hold_out_from(text, validation_);
  const std::string_view first = text.substr(0, cut), second = text.substr(cut);
  const auto first_ids = encode(first), second_ids = encode(second);
  if (!second.empty()) scan_document(first, words_);
  write(first, first_ids, false, part);
  if (second.empty()) return;
  scan_document(second, words_);
  write(second, second_ids, true, part);
}

std::vector<std::int32_t> BlockBuilder::encode(std::string_view text) const {
  return tokenizer_.encode(text, largest_piece_);
}

// `words_` are those of the text.
void BlockBuilder::write(std::string_view text, const std::vector<std::int32_t>& ids, bool held,
                         TokenizedBlock& part) {
  document_.assign(1, tokenizer_.bos());
  document_.insert(document_.end(), ids.begin(), ids.end());
  document_.push_back(tokenizer_.eos());
  const auto tokens = static_cast<std::int64_t>(document_.size());
  part.documents.add(document_, quality_score(text, words_.split, tokens - 2), words_.hash, held);
  DocumentCounts& counts = part.counts;
  ++counts.written;
  counts.tokens += tokens;
  counts.validation += held;
  counts.validation_tokens += held ? tokens : 0;
}

}  // namespace eyrie::data_pipeline
