// Tokenizers over the SentencePiece library, and the one whose tokens are bytes.
#include "text/tokenizer.h"

#include <sentencepiece_processor.h>

#include <fmt/format.h>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"

namespace eyrie::text {
namespace {

class BytesTokenizer final : public Tokenizer {
 public:
  static constexpr std::int32_t kBos = 256;
  static constexpr std::int32_t kEos = 257;

  std::vector<std::int32_t> encode(std::string_view text) const override {
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

// Whether a model file has all its parts. Pieces come first in it, so a file cut off between two
// pieces still parses, as a model of fewer pieces. Walks the outermost fields of the protocol
// buffer: the last parts are the trainer's and the normalizer's settings (fields 2 and 3), which
// every model has.
bool has_all_parts(std::string_view model) {
  std::size_t at = 0;
  auto varint = [&] {
    std::uint64_t value = 0;
    for (int shift = 0; at < model.size() && shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(model[at++]);
      value |= std::uint64_t{byte & 0x7fu} << shift;
      if (byte < 0x80) break;
    }
    return value;
  };
  bool trainer = false;
  bool normalizer = false;
  while (at < model.size()) {
    const std::uint64_t tag = varint();
    constexpr std::uint64_t kLengthDelimited = 2;
    if ((tag & 7) != kLengthDelimited) return false;
    const std::uint64_t length = varint();
    if (length > model.size() - at) return false;
    at += length;
    trainer |= tag >> 3 == 2;
    normalizer |= tag >> 3 == 3;
  }
  return trainer && normalizer;
}

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
    if (!has_all_parts(model)) {
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
  }

  std::vector<std::int32_t> encode(std::string_view text) const override {
    std::vector<int> ids;
    check(processor_.Encode(text, &ids), "encoding");
    return ids;
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
    const std::int32_t id =
        processor_.PieceToId(piece);  // the unknown piece's for what is not there
    return processor_.IdToPiece(id) == piece ? id : -1;
  }

  const std::string& hash() const override { return hash_; }

 private:
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
  sentencepiece::SentencePieceProcessor processor_;
};

}  // namespace

std::shared_ptr<const Tokenizer> open_tokenizer(const std::string& name) {
  if (name == "bytes") return std::make_shared<BytesTokenizer>();
  return std::make_shared<SentencePieceTokenizer>(name);
}

}  // namespace eyrie::text
