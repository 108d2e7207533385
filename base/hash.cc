// Hashes: 64-bit xxh3, through the library's one-shot and streaming functions.
#include "base/hash.h"

#include <xxhash.h>

#include <fmt/format.h>

#include "base/error.h"

namespace eyrie::base {

struct Hasher::State {
  XXH3_state_t* xxh = XXH3_createState();
  ~State() { XXH3_freeState(xxh); }
};

std::uint64_t hash_bytes(std::span<const std::byte> bytes, std::uint64_t seed) {
  return XXH3_64bits_withSeed(bytes.data(), bytes.size(), seed);
}

std::uint64_t hash_text(std::string_view text, std::uint64_t seed) {
  return XXH3_64bits_withSeed(text.data(), text.size(), seed);
}

std::string hex(std::uint64_t hash) { return fmt::format("{:016x}", hash); }

std::uint64_t from_hex(std::string_view text) {
  std::uint64_t value = 0;
  for (const char c : text) {
    const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    if (digit < 0 || text.size() != 16) {
      throw InputError(fmt::format("\"{}\" is not a hash of 16 hexadecimal digits", text));
    }
    value = value << 4 | static_cast<std::uint64_t>(digit);
  }
  if (text.empty()) throw InputError("an empty text is not a hash of 16 hexadecimal digits");
  return value;
}

Hasher::Hasher() : state_(std::make_unique<State>()) {
  EYRIE_CHECK(state_->xxh != nullptr, "no memory for a hash state");
  XXH3_64bits_reset(state_->xxh);
}

Hasher::~Hasher() = default;

void Hasher::add(std::span<const std::byte> bytes) {
  XXH3_64bits_update(state_->xxh, bytes.data(), bytes.size());
}

void Hasher::add(std::string_view text) { add(std::as_bytes(std::span(text))); }

std::uint64_t Hasher::value() const { return XXH3_64bits_digest(state_->xxh); }

}  // namespace eyrie::base
