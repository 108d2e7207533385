// SHA-256 straight from the standard. Its constants are the first 32 bits of the fractional parts
// of the square roots (state) and cube roots (rounds) of the first primes; they are computed here,
// in whole numbers, rather than listed.
#include "eval/sha256.h"

#include <fmt/format.h>

#include <array>
#include <bit>
#include <cstdint>

namespace eyrie::eval {
namespace {

// floor(2^32 · p^(1/power)) without its whole part: the largest r with r^power at most p · 2^(32
// power).
std::uint32_t root_fraction(std::uint32_t prime, int power) {
  using Wide = unsigned __int128;
  const Wide target = Wide{prime} << (32 * power);
  Wide root = 0;
  for (int bit = 40; bit >= 0; --bit) {
    const Wide tried = root | (Wide{1} << bit);
    const Wide raised = power == 2 ? tried * tried : tried * tried * tried;
    if (raised <= target) root = tried;
  }
  return static_cast<std::uint32_t>(root);
}

struct Constants {
  std::array<std::uint32_t, 8> state;
  std::array<std::uint32_t, 64> rounds;
};

const Constants& constants() {
  static const Constants kConstants = [] {
    Constants made{};
    std::uint32_t prime = 2;
    for (std::size_t i = 0; i < made.rounds.size(); ++i) {
      made.rounds[i] = root_fraction(prime, 3);
      if (i < made.state.size()) made.state[i] = root_fraction(prime, 2);
      const auto is_prime = [](std::uint32_t n) {
        for (std::uint32_t d = 2; d * d <= n; ++d) {
          if (n % d == 0) return false;
        }
        return true;
      };
      do ++prime;
      while (!is_prime(prime));
    }
    return made;
  }();
  return kConstants;
}

void add_block(std::array<std::uint32_t, 8>& state, const unsigned char* block) {
  std::array<std::uint32_t, 64> w;
  for (int t = 0; t < 16; ++t) {
    w[t] = std::uint32_t{block[4 * t]} << 24 | std::uint32_t{block[4 * t + 1]} << 16 |
           std::uint32_t{block[4 * t + 2]} << 8 | std::uint32_t{block[4 * t + 3]};
  }
  for (int t = 16; t < 64; ++t) {
    const std::uint32_t s0 = std::rotr(w[t - 15], 7) ^ std::rotr(w[t - 15], 18) ^ (w[t - 15] >> 3);
    const std::uint32_t s1 = std::rotr(w[t - 2], 17) ^ std::rotr(w[t - 2], 19) ^ (w[t - 2] >> 10);
    w[t] = s1 + w[t - 7] + s0 + w[t - 16];
  }
  auto [a, b, c, d, e, f, g, h] = state;
  for (int t = 0; t < 64; ++t) {
    const std::uint32_t sum1 = std::rotr(e, 6) ^ std::rotr(e, 11) ^ std::rotr(e, 25);
    const std::uint32_t t1 = h + sum1 + ((e & f) ^ (~e & g)) + constants().rounds[t] + w[t];
    const std::uint32_t sum0 = std::rotr(a, 2) ^ std::rotr(a, 13) ^ std::rotr(a, 22);
    const std::uint32_t t2 = sum0 + ((a & b) ^ (a & c) ^ (b & c));
    h = g, g = f, f = e, e = d + t1, d = c, c = b, b = a, a = t1 + t2;
  }
  const std::array<std::uint32_t, 8> mixed = {a, b, c, d, e, f, g, h};
  for (std::size_t i = 0; i < state.size(); ++i) state[i] += mixed[i];
}

}  // namespace

std::string sha256(std::string_view bytes) {
  std::array<std::uint32_t, 8> state = constants().state;
  const auto* data = reinterpret_cast<const unsigned char*>(bytes.data());
  std::size_t at = 0;
  for (; at + 64 <= bytes.size(); at += 64) add_block(state, data + at);

  // The rest, one bit, zeros, and the length in bits fill one or two blocks.
  std::string rest(bytes.substr(at));
  rest += '\x80';
  while (rest.size() % 64 != 56) rest += '\0';
  const std::uint64_t bits = std::uint64_t{bytes.size()} * 8;
  for (int shift = 56; shift >= 0; shift -= 8) rest += static_cast<char>(bits >> shift & 0xFF);
  for (std::size_t i = 0; i < rest.size(); i += 64) {
    add_block(state, reinterpret_cast<const unsigned char*>(rest.data()) + i);
  }
  std::string digits;
  for (const std::uint32_t word : state) digits += fmt::format("{:08x}", word);
  return digits;
}

}  // namespace eyrie::eval
