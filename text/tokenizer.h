// Tokenizers: SentencePiece files, or plain bytes. Encoding adds nothing; BOS, EOS and the markers
// of turns are put by whoever needs them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace eyrie::text {

// The markers of a dialogue's turns, as Gemma's tokenizers have them.
constexpr const char* kStartOfTurn = "<start_of_turn>";
constexpr const char* kEndOfTurn = "<end_of_turn>";

// Bytes that are encoded in one go, at the most: this takes up to 220 times as many bytes of
// memory.
constexpr std::size_t kLargestPiece = std::size_t{16} << 20;

// A text is longer than that and cannot be cut so that its tokens stay the same.
class UncutText : public base::InputError {
 public:
  using base::InputError::InputError;
};

// Thread-safe once made.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  // What is text stays text: whatever it holds, neither BOS, EOS nor the piece of a turn marker
  // comes out, not even where the tokenizer has the markers as user-defined pieces (Gemma's).
  // A long text goes in pieces wherever its tokens provably are the same (text/cut_rule.h), so that
  // time and memory per byte do not grow. UncutText: a piece of more than `largest_piece` bytes.
  virtual std::vector<std::int32_t> encode(std::string_view text,
                                           std::size_t largest_piece = kLargestPiece) const = 0;
  virtual std::string decode(const std::vector<std::int32_t>& ids) const = 0;
  virtual std::int32_t bos() const = 0;
  virtual std::int32_t eos() const = 0;
  virtual std::int32_t size() const = 0;  // number of pieces
  virtual std::string piece(std::int32_t id) const = 0;
  virtual std::int32_t find(std::string_view piece) const = 0;  // its id; -1: there is none
  // Whether the library finds turn markers in texts, where encode() then has to keep them text.
  virtual bool finds_markers() const { return false; }
  // Hex hash of the model file's bytes (or "bytes"): stored in shards and checkpoints, compared
  // when they are used.
  virtual const std::string& hash() const = 0;
};

// `name` is a SentencePiece model file, or "bytes" (ids 0–255, BOS 256, EOS 257). InputError names
// the file and what is wrong with it.
std::shared_ptr<const Tokenizer> open_tokenizer(const std::string& name);

// The tokens of a text in which turns are marked: the markers become their pieces, and what stands
// between them stays text. InputError: the tokenizer has no such piece.
std::vector<std::int32_t> encode_with_turns(const Tokenizer& tokenizer, std::string_view text);

}  // namespace eyrie::text
