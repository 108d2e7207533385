// Tokenizers: SentencePiece files, or plain bytes. Encoding adds nothing; BOS, EOS and turn markers
// are added by the callers that need them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace eyrie::text {

// The markers of dialogue turns, as in Gemma's tokenizers.
constexpr const char* kStartOfTurn = "<start_of_turn>";
constexpr const char* kEndOfTurn = "<end_of_turn>";

// The most bytes that are encoded in one go. Encoding takes up to 220 times as many bytes of
// memory.
constexpr std::size_t kLargestPiece = std::size_t{16} << 20;

// Thrown if a text is longer than that and cannot be cut without changing its tokens.
class UncutText : public base::InputError {
 public:
  using base::InputError::InputError;
};

// Thread-safe once constructed.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  // Text stays text: whatever it contains, the result has no BOS, EOS or turn marker piece, even if
  // the tokenizer has the markers as user-defined pieces (Gemma's). A long text is encoded in
  // pieces, cut where the tokens are provably the same (text/cut_rule.h), so that time and memory
  // per byte do not grow. Throws UncutText if a piece has more than `largest_piece` bytes.
  virtual std::vector<std::int32_t> encode(std::string_view text,
                                           std::size_t largest_piece = kLargestPiece) const = 0;
  virtual std::string decode(const std::vector<std::int32_t>& ids) const = 0;
  virtual std::int32_t bos() const = 0;
  virtual std::int32_t eos() const = 0;
  virtual std::int32_t size() const = 0;  // number of pieces
  virtual std::string piece(std::int32_t id) const = 0;
  virtual std::int32_t find(std::string_view piece) const = 0;  // its id, or -1
  // Whether the library recognises turn markers in texts, so that encode() has to keep them as
  // text.
  virtual bool finds_markers() const { return false; }
  // Hex hash of the model file's bytes (or "bytes"): stored in shards and checkpoints and compared
  // when they are used.
  virtual const std::string& hash() const = 0;
};

// `name` is a SentencePiece model file, or "bytes" (ids 0–255, BOS 256, EOS 257). Throws InputError
// naming the file and what is wrong with it.
std::shared_ptr<const Tokenizer> open_tokenizer(const std::string& name);

// Encodes a text with marked turns: the markers become their pieces, and everything between them
// stays text. Throws InputError if the tokenizer has no such piece.
std::vector<std::int32_t> encode_with_turns(const Tokenizer& tokenizer, std::string_view text);

}  // namespace eyrie::text
