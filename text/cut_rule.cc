// Reads from a model which characters its pieces and rules may join.
#include "text/cut_rule.h"

#include <algorithm>
#include <cstring>
#include <functional>

#include "base/utf8.h"

namespace eyrie::text {
namespace {

constexpr char32_t kSpaceSymbol = 0x2581;  // stands for a blank in pieces
const std::set<char32_t> kWhite = {' ', '\t', '\n', '\r', kSpaceSymbol, 0xA0, 0x3000};

struct Rule {
  std::u32string from, to;
};

// Reads the normalizer's rules: a darts-clone double array, preceded by its length in bytes and
// followed by the zero-terminated texts that the keys become. Returns false if they cannot be read.
bool read_rules(std::string_view compiled, std::vector<Rule>& rules) {
  if (compiled.empty()) return true;
  std::uint32_t bytes = 0;
  if (compiled.size() < sizeof bytes) return false;
  std::memcpy(&bytes, compiled.data(), sizeof bytes);
  compiled.remove_prefix(sizeof bytes);
  if (bytes > compiled.size() || bytes < sizeof bytes) return false;
  std::vector<std::uint32_t> units(bytes / sizeof bytes);
  std::memcpy(units.data(), compiled.data(), units.size() * sizeof bytes);
  const std::string_view texts = compiled.substr(bytes);

  const auto offset = [](std::uint32_t unit) { return (unit >> 10) << ((unit & 0x200) >> 6); };
  constexpr std::size_t kLargestWalk = 1 << 22;  // a damaged array may have loops
  std::size_t visited = 0;
  bool fine = true;
  std::string key;
  const std::function<void(std::size_t)> descend = [&](std::size_t node) {
    for (unsigned byte = 1; fine && byte < 256; ++byte) {
      const std::size_t child = node ^ byte;
      if (child >= units.size() || (units[child] & 0x800000FFu) != byte) continue;
      key.push_back(static_cast<char>(byte));
      const std::size_t below = child ^ offset(units[child]);
      fine = fine && ++visited < kLargestWalk && key.size() < 256 && below < units.size();
      if (fine && (units[child] & 0x100) != 0) {
        const std::size_t at = units[below] & 0x7FFFFFFFu;
        const std::size_t end = texts.find('\0', at);
        Rule rule;
        fine = end != texts.npos && base::decode_utf8(key, rule.from) &&
               base::decode_utf8(texts.substr(at, end - at), rule.to);
        rules.push_back(std::move(rule));
      }
      if (fine) descend(below);
      key.pop_back();
    }
  };
  descend(offset(units[0]));
  return fine;
}

}  // namespace

CutRule::CutRule(const SentencePieceModel& model) {
  const bool unused = std::any_of(model.pieces.begin(), model.pieces.end(), [](const auto& piece) {
    return piece.type == SentencePieceModel::kUnused;
  });
  std::vector<Rule> rules;
  if (model.algorithm != SentencePieceModel::kBpe || unused || model.whitespace_is_suffix ||
      !read_rules(model.rules, rules))
    return;
  std::vector<std::u32string> pieces;
  std::set<char32_t> known;
  for (const SentencePieceModel::Piece& piece : model.pieces) {
    if (piece.type != SentencePieceModel::kNormal && piece.type != SentencePieceModel::kUserDefined)
      continue;
    std::u32string text;
    if (!base::decode_utf8(piece.text, text)) return;
    if (text.size() == 1) known.insert(text[0]);
    pieces.push_back(std::move(text));
  }

  std::vector<Separator> all;
  for (const char byte : {'\n', ' '}) {
    // What the normalizer turns it into.
    const char32_t raw = static_cast<unsigned char>(byte);
    char32_t becomes = raw;
    bool usable = true;
    for (const Rule& rule : rules) {
      if (rule.from[0] != raw) continue;
      usable = usable && rule.from.size() == 1 && !rule.to.empty();
      if (usable) becomes = rule.to[0];
    }
    if (becomes == ' ' && model.escape_whitespaces) becomes = kSpaceSymbol;
    // Neighbouring unknown characters share one token, so this character must be known.
    if (!usable || (!model.byte_fallback && !known.contains(becomes))) continue;

    Separator separator{byte, kWhite};
    const auto joins = [&](const std::u32string& text) {
      for (std::size_t i = 1; i < text.size(); ++i)
        if (text[i] == becomes || text[i] == raw) separator.not_after.insert(text[i - 1]);
    };
    for (const std::u32string& piece : pieces) joins(piece);
    // Characters that the normalizer replaces: what they become decides.
    std::set<char32_t> also;
    for (const Rule& rule : rules) joins(rule.from);
    for (const Rule& rule : rules) {
      if (rule.to.empty() || separator.not_after.contains(rule.to.back()))
        also.insert(rule.from.back());
    }
    separator.not_after.insert(also.begin(), also.end());
    all.push_back(std::move(separator));
  }
  for (char letter = 'a'; letter <= 'z' && before_.empty(); ++letter) {
    const bool ordinary = std::all_of(all.begin(), all.end(), [&](const Separator& separator) {
      return !separator.not_after.contains(static_cast<unsigned char>(letter));
    });
    if (ordinary && (model.byte_fallback || known.contains(static_cast<unsigned char>(letter))))
      before_ = letter;
  }
  if (!before_.empty()) separators_ = std::move(all);
}

bool CutRule::may_cut(std::string_view text, std::size_t at) const {
  for (const Separator& separator : separators_) {
    if (text[at] != separator.byte) continue;
    std::size_t begin = at - 1;
    while (begin > 0 && at - begin < 4 && (text[begin] & 0xC0) == 0x80) --begin;
    std::u32string character;
    return base::decode_utf8(text.substr(begin, at - begin), character) && character.size() == 1 &&
           !separator.not_after.contains(character[0]);
  }
  return false;
}

std::size_t CutRule::next(std::string_view text, std::size_t from) const {
  if (separators_.empty()) return text.size();
  for (std::size_t at = from; at < text.size(); ++at)
    if (may_cut(text, at)) return at;
  return text.size();
}

}  // namespace eyrie::text
