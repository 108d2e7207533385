// Tokenizers: SentencePiece files, or plain bytes. Encoding adds nothing; BOS and EOS are put by
// whoever needs them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace eyrie::text {

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
  // Hex hash of the model file's bytes (or "bytes"): stored in shards and checkpoints, compared
  // when they are used.
  virtual const std::string& hash() const = 0;
};

// `name` is a SentencePiece model file, or "bytes" (ids 0–255, BOS 256, EOS 257). InputError names
// the file and what is wrong with it.
std::shared_ptr<const Tokenizer> open_tokenizer(const std::string& name);

}  // namespace eyrie::text
