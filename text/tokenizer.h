// Tokenizers: SentencePiece files, or plain bytes. Encoding adds nothing; BOS and EOS are put by
// whoever needs them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace eyrie::text {

// Thread-safe once made.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  virtual std::vector<std::int32_t> encode(std::string_view text) const = 0;
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
