// Streaming detokenisation.
#include "text/streaming_detokenizer.h"

#include <unicode/unistr.h>

#include <algorithm>

namespace eyrie::text {
namespace {

constexpr std::size_t kTailTokens = 16;

// Returns the length of `text` without an incomplete character at its end.
std::size_t whole_characters(const std::string& text) {
  std::size_t start = text.size();
  while (start > 0 && text.size() - start < 4) {
    const auto byte = static_cast<unsigned char>(text[--start]);
    if ((byte & 0xc0) == 0x80) continue;  // inside a character: look further back
    const std::size_t length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
    return start + length <= text.size() ? text.size() : start;
  }
  return text.size();
}

}  // namespace

StreamingDetokenizer::StreamingDetokenizer(const Tokenizer& tokenizer,
                                           const std::vector<std::int32_t>& before,
                                           const std::vector<std::string>& stops)
    : tokenizer_(tokenizer) {
  for (const std::string& stop : stops)
    if (!stop.empty()) stops_.push_back(stop);
  tail_.assign(before.end() - static_cast<std::ptrdiff_t>(std::min(before.size(), kTailTokens)),
               before.end());
  decoded_ = tokenizer_.decode(tail_);
}

std::string StreamingDetokenizer::add(std::int32_t token) {
  if (stopped_) return "";
  tail_.push_back(token);
  const std::string text = tokenizer_.decode(tail_);
  // Byte pieces that do not form a character yet decode to the replacement character: wait for the
  // rest.
  std::size_t certain = whole_characters(text);
  const std::string replacement = "\xef\xbf\xbd";
  while (certain >= 3 && text.compare(certain - 3, 3, replacement) == 0 &&
         text.size() - certain < 12)
    certain -= 3;
  if (certain > decoded_.size() && text.compare(0, decoded_.size(), decoded_) == 0) {
    pending_ += text.substr(decoded_.size(), certain - decoded_.size());
    decoded_ = text.substr(0, certain);
  }
  if (tail_.size() >= 2 * kTailTokens && decoded_.size() == text.size()) {
    // Keep a tail whose first token provides the context that a leading blank depends on.
    tail_.erase(tail_.begin(), tail_.end() - kTailTokens);
    decoded_ = tokenizer_.decode(tail_);
  }
  return release(false);
}

std::string StreamingDetokenizer::finish() {
  if (stopped_) return "";
  return release(true);  // only bytes that form no character are left
}

std::string StreamingDetokenizer::release(bool all) {
  std::size_t end = pending_.size();
  for (const std::string& stop : stops_) {
    const std::size_t found = pending_.find(stop);
    if (found == std::string::npos) continue;
    if (!stopped_ || found < end) stop_ = stop;
    stopped_ = true;
    end = std::min(end, found);
  }
  if (!stopped_ && !all) {
    // Hold back the longest suffix that may begin a stop text.
    std::size_t longest = 0;
    for (const std::string& stop : stops_) {
      std::size_t held = std::min(stop.size() - 1, pending_.size());
      while (held > 0 && pending_.compare(pending_.size() - held, held, stop, 0, held) != 0) --held;
      longest = std::max(longest, held);
    }
    end -= longest;
  }
  std::string out;
  icu::UnicodeString::fromUTF8(icu::StringPiece(pending_.data(), static_cast<std::int32_t>(end)))
      .toUTF8String(out);
  pending_.erase(0, end);
  return out;
}

}  // namespace eyrie::text
