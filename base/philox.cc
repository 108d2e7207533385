// Philox4x32-10, and uniforms, normals and permutations based on it. Only +, -, *, / and sqrt of
// doubles are used, which IEEE 754 rounds in one way everywhere, and the build forbids contraction:
// the bits are the same on every machine.
#include "base/philox.h"

#include <bit>
#include <cmath>
#include <utility>

#include "base/error.h"
#include "base/hash.h"

namespace eyrie::base {
namespace {

// The high half of the counter separates different kinds of numbers under one key.
constexpr std::uint64_t kUniform = 0;
constexpr std::uint64_t kNormal = 1;
constexpr std::uint64_t kFeistel = std::uint64_t{1} << 63;  // in the low half, above any index / 2
constexpr int kFeistelRounds = 6;

std::uint64_t bits53(std::uint32_t low, std::uint32_t high) {
  return (std::uint64_t{high} << 32 | low) >> 11;
}

// ln x for normal x > 0. x = m 2^e with m in [sqrt(1/2), sqrt(2)); ln m = 2 artanh(s), s = (m - 1)
// / (m + 1), |s| < 0.1716: the first neglected term of the series, s^25 / 25, is below 1e-20.
double logarithm(double x) {
  const auto bits = std::bit_cast<std::uint64_t>(x);
  auto exponent = static_cast<std::int64_t>(bits >> 52) - 1022;
  double m = std::bit_cast<double>((bits & 0x000fffffffffffffu) | 0x3fe0000000000000u);
  if (m < 0.70710678118654752440) {
    m *= 2;
    --exponent;
  }
  const double s = (m - 1) / (m + 1);
  const double s2 = s * s;
  double sum = 0;
  for (int n = 23; n >= 3; n -= 2) sum = sum * s2 + 1.0 / n;
  const double log_m = 2 * s + 2 * s * s2 * sum;
  // ln 2 in two parts, the first short enough for an exact product with the exponent.
  const double e = static_cast<double>(exponent);
  return e * 0x1.62e42fefap-1 + (log_m + e * 0x1.cf79abc9e3b39p-40);
}

// cos(2 pi u) for u in [-1, 1]: by the nearest quarter turn and the Taylor series of sine or cosine
// within pi/4.
double cosine_of_turns(double u) {
  const double quarters = 4 * u;
  const auto nearest = static_cast<int>(quarters + (quarters < 0 ? -0.5 : 0.5));
  const double x = (quarters - nearest) * 1.57079632679489661923;
  const double x2 = x * x;
  const bool odd = (nearest & 1) != 0;
  // sum over k of (-x^2)^k / (2k + odd)!, innermost term first.
  double sum = 1;
  for (int n = 18 + (odd ? 1 : 0); n >= 2; n -= 2) sum = 1 - sum * x2 / (n * (n - 1));
  // cos(t + pi/2) = -sin t, cos(t + pi) = -cos t, cos(t - pi/2) = sin t.
  const double value = odd ? sum * x : sum;
  const int turn = nearest & 3;
  return turn == 1 || turn == 2 ? -value : value;
}

}  // namespace

Philox::Philox(std::uint64_t seed, std::string_view purpose) {
  const std::uint64_t key = hash_text(purpose, seed);
  key_ = {static_cast<std::uint32_t>(key), static_cast<std::uint32_t>(key >> 32)};
}

std::array<std::uint32_t, 4> Philox::block(std::uint64_t counter, std::uint64_t high) const {
  std::array<std::uint32_t, 4> x = {
      static_cast<std::uint32_t>(counter), static_cast<std::uint32_t>(counter >> 32),
      static_cast<std::uint32_t>(high), static_cast<std::uint32_t>(high >> 32)};
  std::uint32_t k0 = key_[0];
  std::uint32_t k1 = key_[1];
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t product0 = std::uint64_t{0xD2511F53} * x[0];
    const std::uint64_t product1 = std::uint64_t{0xCD9E8D57} * x[2];
    x = {static_cast<std::uint32_t>(product1 >> 32) ^ x[1] ^ k0,
         static_cast<std::uint32_t>(product1),
         static_cast<std::uint32_t>(product0 >> 32) ^ x[3] ^ k1,
         static_cast<std::uint32_t>(product0)};
    k0 += 0x9E3779B9;  // the golden ratio
    k1 += 0xBB67AE85;  // sqrt(3) - 1
  }
  return x;
}

double Philox::uniform(std::uint64_t index) const {
  const auto words = block(index / 2, kUniform);
  const std::size_t at = index % 2 * 2;
  return static_cast<double>(bits53(words[at], words[at + 1])) * 0x1p-53;
}

double Philox::normal(std::uint64_t index) const {
  // One block gives the pair (r cos, r sin) to two neighbouring indices; sine is the cosine a
  // quarter turn earlier.
  const auto words = block(index / 2, kNormal);
  const double u = static_cast<double>(bits53(words[0], words[1]) + 1) * 0x1p-53;  // (0, 1]
  const double turns = static_cast<double>(bits53(words[2], words[3])) * 0x1p-53;
  const double radius = std::sqrt(-2 * logarithm(u));
  return radius * cosine_of_turns(index % 2 == 0 ? turns : turns - 0.25);
}

std::uint64_t Philox::permute(std::uint64_t index, std::uint64_t count,
                              std::uint64_t round_key) const {
  EYRIE_CHECK(index < count, "an index outside of its permutation");
  int half_bits = 1;
  while (half_bits < 32 && (std::uint64_t{1} << (2 * half_bits)) < count) ++half_bits;
  const std::uint64_t mask = (std::uint64_t{1} << half_bits) - 1;
  std::uint64_t place = index;
  do {
    std::uint64_t left = place >> half_bits;
    std::uint64_t right = place & mask;
    for (std::uint64_t round = 0; round < kFeistelRounds; ++round) {
      const std::uint64_t mixed = block(kFeistel | round << 32 | right, round_key)[0] & mask;
      left = std::exchange(right, left ^ mixed);
    }
    place = left << half_bits | right;
  } while (place >= count);
  return place;
}

}  // namespace eyrie::base
