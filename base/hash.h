// Hashes: xxh3, for checksums, names and fingerprints. The values are part of the file formats.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace eyrie::base {

std::uint64_t hash_bytes(std::span<const std::byte> bytes, std::uint64_t seed = 0);
std::uint64_t hash_text(std::string_view text, std::uint64_t seed = 0);
std::string hex(std::uint64_t hash);            // 16 lower-case digits
std::uint64_t from_hex(std::string_view text);  // InputError if it is anything else

// Gives the same value as hash_bytes over the concatenation of all pieces.
class Hasher {
 public:
  Hasher();
  ~Hasher();
  void add(std::span<const std::byte> bytes);
  void add(std::string_view text);
  std::uint64_t value() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace eyrie::base
