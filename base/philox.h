// Counter-based random numbers: Philox4x32-10 (Salmon et al., Parallel random numbers: as easy as
// 1, 2, 3, SC 2011). A number depends only on (seed, purpose, index): there is no state, so nothing
// depends on ranks, threads or order.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace eyrie::base {

// The key is the xxh3 hash of the purpose, seeded with the whole seed. A purpose is a parameter's
// name, "data order", … Uniforms, normals and permutations of one key do not share numbers.
class Philox {
 public:
  Philox(std::uint64_t seed, std::string_view purpose);
  Philox(std::uint32_t key0, std::uint32_t key1) : key_{key0, key1} {}

  std::array<std::uint32_t, 4> block(std::uint64_t counter, std::uint64_t high = 0) const;

  double uniform(std::uint64_t index) const;  // in [0, 1), 53 bits, two words per index
  double normal(std::uint64_t index) const;   // Box–Muller, own log and cosine: portable bits

  // Returns the place of `index` under a keyed permutation of [0, count): a bijection, computed
  // without a table (a Feistel network over the next power of four, repeated until the result is
  // below count).
  std::uint64_t permute(std::uint64_t index, std::uint64_t count,
                        std::uint64_t round_key = 0) const;

 private:
  std::array<std::uint32_t, 2> key_;
};

}  // namespace eyrie::base
