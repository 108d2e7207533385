// Walks the fields of the protocol buffer.
#include "text/sentencepiece_model.h"

#include <algorithm>

namespace eyrie::text {
namespace {

struct Field {
  std::uint64_t number = 0, value = 0;  // value: of a varint
  std::string_view bytes;               // of a field with a length
};

class Fields {
 public:
  explicit Fields(std::string_view message) : left_(message) {}
  bool damaged() const { return damaged_; }

  bool next(Field& field) {
    if (left_.empty() || damaged_) return false;
    const std::uint64_t tag = varint();
    field = {tag >> 3, 0, {}};
    switch (tag & 7) {
      case 0:
        field.value = varint();
        break;
      case 1:
        field.bytes = take(8);
        break;
      case 2:
        field.bytes = take(varint());
        break;
      case 5:
        field.bytes = take(4);
        break;
      default:
        damaged_ = true;
    }
    return !damaged_;
  }

 private:
  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (left_.empty()) break;
      const auto byte = static_cast<unsigned char>(left_.front());
      left_.remove_prefix(1);
      value |= std::uint64_t{byte & 0x7fu} << shift;
      if (byte < 0x80) return value;
    }
    damaged_ = true;
    return 0;
  }
  std::string_view take(std::uint64_t length) {
    damaged_ |= length > left_.size();
    if (damaged_) return {};
    const std::string_view bytes = left_.substr(0, length);
    left_.remove_prefix(length);
    return bytes;
  }

  std::string_view left_;
  bool damaged_ = false;
};

// A field of the outermost message, whose fields all have a length.
constexpr std::uint64_t kPieces = 1;
// Field 3 of a piece, its type: UNUSED. If a field occurs twice, the last one counts.
constexpr std::string_view kUnused("\x18\x05", 2);

void put_field(std::string& out, std::uint64_t number, std::string_view bytes) {
  const auto put_varint = [&](std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) out += static_cast<char>((value & 0x7f) | 0x80);
    out += static_cast<char>(value);
  };
  put_varint(number << 3 | 2);
  put_varint(bytes.size());
  out += bytes;
}

}  // namespace

std::optional<SentencePieceModel> parse_sentencepiece_model(std::string_view bytes) {
  SentencePieceModel model;
  bool trainer = false, normalizer = false, damaged = false;
  const auto each = [&](std::string_view message, auto&& visit) {
    Fields fields(message);
    for (Field field; fields.next(field);) visit(field);
    damaged |= fields.damaged();
  };
  each(bytes, [&](const Field& part) {
    if (part.number == kPieces) {
      SentencePieceModel::Piece& piece = model.pieces.emplace_back();
      each(part.bytes, [&](const Field& field) {
        if (field.number == 1) piece.text = field.bytes;
        if (field.number == 3) piece.type = static_cast<int>(field.value);
      });
    } else if (part.number == 2) {
      trainer = true;
      each(part.bytes, [&](const Field& field) {
        if (field.number == 3) model.algorithm = static_cast<int>(field.value);
        if (field.number == 24) model.whitespace_is_suffix = field.value != 0;
        if (field.number == 35) model.byte_fallback = field.value != 0;
      });
    } else if (part.number == 3) {
      normalizer = true;
      each(part.bytes, [&](const Field& field) {
        if (field.number == 2) model.rules = field.bytes;
        if (field.number == 3) model.dummy_prefix = field.value != 0;
        if (field.number == 4) model.remove_extra_whitespaces = field.value != 0;
        if (field.number == 5) model.escape_whitespaces = field.value != 0;
      });
    }
  });
  if (damaged || !trainer || !normalizer) return std::nullopt;
  return model;
}

std::string without_pieces(std::string_view model, const std::vector<std::string>& pieces) {
  std::string changed;
  Fields fields(model);
  for (Field field; fields.next(field);) {
    std::string bytes(field.bytes);
    if (field.number == kPieces) {
      Fields inside(field.bytes);
      for (Field part; inside.next(part);) {
        if (part.number == 1 && std::find(pieces.begin(), pieces.end(), part.bytes) != pieces.end())
          bytes += kUnused;
      }
    }
    put_field(changed, field.number, bytes);
  }
  return changed;
}

}  // namespace eyrie::text
