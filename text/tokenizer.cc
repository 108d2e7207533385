// Tokenizers over the SentencePiece library, and the tokenizer whose tokens are bytes.
#include "text/tokenizer.h"

#include <sentencepiece_processor.h>

#include <fmt/format.h>

#include <algorithm>
#include <mutex>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "text/cut_rule.h"
#include "text/sentencepiece_model.h"

namespace eyrie::text {
namespace {

const std::vector<std::string> kTurnMarkers = {kStartOfTurn, kEndOfTurn};

// Finds the first turn marker in `text` from `at` on; npos if there is none.
std::size_t find_marker(std::string_view text, std::size_t at, std::string_view& marker) {
  std::size_t first = std::string_view::npos;
  for (const std::string& one : kTurnMarkers) {
    const std::size_t found = text.find(one, at);
    if (found >= first) continue;
    first = found;
    marker = one;
  }
  return first;
}

class BytesTokenizer final : public Tokenizer {
 public:
  static constexpr std::int32_t kBos = 256;
  static constexpr std::int32_t kEos = 257;

  std::vector<std::int32_t> encode(std::string_view text, std::size_t) const override {
    std::vector<std::int32_t> ids;
    ids.reserve(text.size());
    for (const char c : text) ids.push_back(static_cast<unsigned char>(c));
    return ids;
  }

  std::string decode(const std::vector<std::int32_t>& ids) const override {
    std::string text;
    for (const std::int32_t id : ids) {
      check_id(id);
      if (id < kBos) text += static_cast<char>(id);
    }
    return text;
  }

  std::int32_t bos() const override { return kBos; }
  std::int32_t eos() const override { return kEos; }
  std::int32_t size() const override { return kEos + 1; }

  std::string piece(std::int32_t id) const override {
    check_id(id);
    if (id == kBos) return "<s>";
    if (id == kEos) return "</s>";
    return fmt::format("<0x{:02X}>", id);
  }

  std::int32_t find(std::string_view piece) const override {
    for (std::int32_t id = 0; id < size(); ++id)
      if (this->piece(id) == piece) return id;
    return -1;
  }

  const std::string& hash() const override { return hash_; }

 private:
  static void check_id(std::int32_t id) {
    if (id < 0 || id > kEos) {
      throw base::InputError(
          fmt::format("token {} is not one of the {} of the tokenizer \"bytes\"", id, kEos + 1));
    }
  }

  const std::string hash_ = "bytes";
};

// A text of up to kWhole bytes is encoded whole; pieces of a longer one have at least kPiece bytes.
constexpr std::size_t kWhole = 32 << 10;
constexpr std::size_t kPiece = 16 << 10;

class SentencePieceTokenizer final : public Tokenizer {
 public:
  explicit SentencePieceTokenizer(const std::string& name) : name_(name) {
    const std::string model = base::read_file(name);
    const std::string advice = "give a SentencePiece model (.model) or \"bytes\"";
    if (model.empty())
      throw base::InputError(fmt::format("{}: the file is empty; {}", name, advice));
    const auto status = processor_.LoadFromSerializedProto(model);
    if (!status.ok()) {
      throw base::InputError(fmt::format("{}: not a SentencePiece model, or a damaged one ({}); {}",
                                         name, status.ToString(), advice));
    }
    if (!parse_sentencepiece_model(model)) {
      throw base::InputError(
          fmt::format("{}: this SentencePiece model is cut off; {}", name, advice));
    }
    if (bos() < 0 || eos() < 0) {
      throw base::InputError(
          fmt::format("{}: this SentencePiece model has no {} piece, which every document needs; "
                      "train it with {}",
                      name, bos() < 0 ? "BOS" : "EOS", bos() < 0 ? "--bos_id=1" : "--eos_id=2"));
    }
    hash_ = base::hex(base::hash_text(model));
    for (const std::string& marker : kTurnMarkers) {
      const std::int32_t id = find(marker);
      if (id >= 0 && !processor_.IsControl(id)) markers_.push_back(id);
    }
    if (markers_.empty()) return;
    model_ = model;
    const auto letter = encode_with(processor_, "a");
    puts_blank_in_front_ = !letter.empty() && piece(letter.front()).starts_with("▁");
  }

  std::vector<std::int32_t> encode(std::string_view text,
                                   std::size_t largest_piece) const override {
    if (text.size() <= kWhole && text.size() <= largest_piece) return encode_whole(text);
    std::call_once(cut_rule_made_, [this] {
      const std::string model = processor_.serialized_model_proto();
      cut_rule_ = CutRule(parse_sentencepiece_model(model).value());
    });
    const std::string before(cut_rule_.before());
    const std::vector<std::int32_t> before_ids = encode_whole(before);
    std::vector<std::int32_t> all;
    for (std::size_t begin = 0; begin < text.size();) {
      const std::size_t end =
          text.size() - begin <= kWhole ? text.size() : cut_rule_.next(text, begin + kPiece);
      if (end - begin > largest_piece)
        throw UncutText(fmt::format(
            "{} bytes without a place where {} lets a text be cut, more than the {} that are "
            "encoded in one go (largest_piece in DATA.yaml)",
            end - begin, name_, largest_piece));
      const std::string_view piece = text.substr(begin, end - begin);
      if (begin == 0) {
        all = encode_whole(piece);
      } else {
        const std::vector<std::int32_t> ids = encode_whole(before + std::string(piece));
        const auto border = ids.begin() + static_cast<std::ptrdiff_t>(before_ids.size());
        EYRIE_CHECK(
            ids.size() >= before_ids.size() && std::equal(ids.begin(), border, before_ids.begin()),
            "a text was cut where its tokens are not independent");
        all.insert(all.end(), border, ids.end());
      }
      begin = end;
    }
    return all;
  }

  std::string decode(const std::vector<std::int32_t>& ids) const override {
    for (const std::int32_t id : ids) check_id(id);
    std::string text;
    check(processor_.Decode(ids, &text), "decoding");
    return text;
  }

  std::int32_t bos() const override { return processor_.bos_id(); }
  std::int32_t eos() const override { return processor_.eos_id(); }
  std::int32_t size() const override { return processor_.GetPieceSize(); }

  std::string piece(std::int32_t id) const override {
    check_id(id);
    return processor_.IdToPiece(id);
  }

  std::int32_t find(std::string_view piece) const override {
    const std::int32_t id = processor_.PieceToId(piece);  // the unknown piece's id if missing
    return processor_.IdToPiece(id) == piece ? id : -1;
  }

  bool finds_markers() const override { return !markers_.empty(); }
  const std::string& hash() const override { return hash_; }

 private:
  using Processor = sentencepiece::SentencePieceProcessor;

  std::vector<std::int32_t> encode_with(const Processor& processor, std::string_view text) const {
    std::vector<int> ids;
    check(processor.Encode(text, &ids), "encoding");
    return ids;
  }

  bool has_marker(const std::vector<std::int32_t>& ids) const {
    return !markers_.empty() && std::find_first_of(ids.begin(), ids.end(), markers_.begin(),
                                                   markers_.end()) != ids.end();
  }

  std::vector<std::int32_t> encode_whole(std::string_view text) const {
    std::vector<std::int32_t> ids = encode_with(processor_, text);
    return has_marker(ids) ? encode_markers_as_text(text) : ids;
  }

  // If it is cut after the first character of each marker, a text contains no marker. If every part
  // would then begin with a blank, or if the normalizer turns other characters into a marker, a
  // model without these pieces encodes the text instead.
  std::vector<std::int32_t> encode_markers_as_text(std::string_view text) const {
    std::vector<std::int32_t> ids;
    if (!puts_blank_in_front_) {
      std::string_view marker;
      for (std::size_t begin = 0, end = 0; end < text.size(); begin = end) {
        const std::size_t found = find_marker(text, begin, marker);
        end = found == std::string_view::npos ? text.size() : found + 1;
        const auto part = encode_with(processor_, text.substr(begin, end - begin));
        ids.insert(ids.end(), part.begin(), part.end());
      }
      if (!has_marker(ids)) return ids;
    }
    ids = encode_with(without_markers(), text);
    if (has_marker(ids)) {
      throw base::InputError(fmt::format(
          "{}: it cannot write {} and {} as text, only as control tokens; train it with "
          "--control_symbols={},{}",
          name_, kStartOfTurn, kEndOfTurn, kStartOfTurn, kEndOfTurn));
    }
    return ids;
  }

  const Processor& without_markers() const {
    std::call_once(without_markers_made_, [&] {
      check(without_markers_.LoadFromSerializedProto(without_pieces(model_, kTurnMarkers)),
            "reading");
    });
    return without_markers_;
  }

  void check_id(std::int32_t id) const {
    if (id < 0 || id >= size()) {
      throw base::InputError(
          fmt::format("token {} is not one of the {} of the tokenizer {}", id, size(), name_));
    }
  }

  void check(const sentencepiece::util::Status& status, const char* doing) const {
    if (!status.ok()) {
      throw base::Error(fmt::format("{} with {} failed: {}", doing, name_, status.ToString()));
    }
  }

  std::string name_;
  std::string hash_;
  Processor processor_;
  std::vector<std::int32_t> markers_;  // turn markers that the library recognises in texts
  std::string model_;                  // the file's bytes, if markers_ is not empty
  bool puts_blank_in_front_ = false;   // the library does this to every text
  mutable std::once_flag without_markers_made_;
  mutable Processor without_markers_;
  mutable std::once_flag cut_rule_made_;
  mutable CutRule cut_rule_;  // created for the first long text
};

}  // namespace

std::shared_ptr<const Tokenizer> open_tokenizer(const std::string& name) {
  if (name == "bytes") return std::make_shared<BytesTokenizer>();
  return std::make_shared<SentencePieceTokenizer>(name);
}

std::vector<std::int32_t> encode_with_turns(const Tokenizer& tokenizer, std::string_view text) {
  std::vector<std::int32_t> ids;
  for (std::size_t begin = 0; begin <= text.size();) {
    std::string_view marker;
    const std::size_t found = find_marker(text, begin, marker);
    const auto part = tokenizer.encode(text.substr(begin, found - begin));
    ids.insert(ids.end(), part.begin(), part.end());
    if (found == std::string_view::npos) break;
    ids.push_back(tokenizer.find(marker));
    if (ids.back() < 0) {
      throw base::InputError(
          fmt::format("the tokenizer has no {}: it can only be written as text", marker));
    }
    begin = found + marker.size();
  }
  return ids;
}

}  // namespace eyrie::text
