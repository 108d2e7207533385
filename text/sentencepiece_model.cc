// Walking the fields of a protocol buffer.
#include "text/sentencepiece_model.h"

#include <algorithm>
#include <cstdint>

namespace eyrie::text {
namespace {

constexpr std::uint64_t kVarint = 0, kEightBytes = 1, kLengthDelimited = 2, kFourBytes = 5;
constexpr std::uint64_t kPieces = 1, kTrainer = 2, kNormalizer = 3;  // fields of a model
constexpr std::uint64_t kText = 1;                                   // of a piece
// Field 3 of a piece, its type: UNUSED. Of a field that comes twice the last counts.
constexpr std::string_view kUnused("\x18\x05", 2);

class Fields {
 public:
  explicit Fields(std::string_view bytes) : left_(bytes) {}

  // Takes the next field; `value` is empty for numbers. False at the end, or where none can be.
  bool next(std::uint64_t& number, std::string_view& value) {
    whole_ = left_.empty();
    if (whole_) return false;
    const std::uint64_t tag = varint();
    number = tag >> 3;
    value = {};
    std::uint64_t length = 0;
    switch (tag & 7) {
      case kVarint:
        varint();
        return true;
      case kEightBytes:
        length = 8;
        break;
      case kFourBytes:
        length = 4;
        break;
      case kLengthDelimited:
        length = varint();
        break;
      default:
        return false;
    }
    if (length > left_.size()) return false;
    if ((tag & 7) == kLengthDelimited) value = left_.substr(0, length);
    left_.remove_prefix(length);
    return true;
  }
  bool whole() const { return whole_; }  // after next() was false: it was the end

 private:
  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (int shift = 0; !left_.empty() && shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(left_.front());
      left_.remove_prefix(1);
      value |= std::uint64_t{byte & 0x7fu} << shift;
      if (byte < 0x80) break;
    }
    return value;
  }

  std::string_view left_;
  bool whole_ = false;
};

void put_varint(std::string& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>((value & 0x7f) | 0x80);
  out += static_cast<char>(value);
}

std::string_view text_of(std::string_view piece) {
  Fields fields(piece);
  std::uint64_t number = 0;
  std::string_view value;
  while (fields.next(number, value)) {
    if (number == kText) return value;
  }
  return {};
}

}  // namespace

bool has_all_parts(std::string_view model) {
  Fields fields(model);
  std::uint64_t number = 0;
  std::string_view value;
  bool trainer = false, normalizer = false;
  while (fields.next(number, value)) {
    trainer |= number == kTrainer;
    normalizer |= number == kNormalizer;
  }
  return fields.whole() && trainer && normalizer;
}

std::string without_pieces(std::string_view model, const std::vector<std::string>& pieces) {
  std::string changed;
  Fields fields(model);
  std::uint64_t number = 0;
  std::string_view value;
  while (fields.next(number, value)) {
    put_varint(changed, number << 3 | kLengthDelimited);
    const bool unused = number == kPieces &&
                        std::find(pieces.begin(), pieces.end(), text_of(value)) != pieces.end();
    put_varint(changed, value.size() + (unused ? kUnused.size() : 0));
    changed += value;
    if (unused) changed += kUnused;
  }
  return changed;
}

}  // namespace eyrie::text
