// Python's random.Random, number for number: evaluation draws its few-shot examples with it, so
// that the prompts are those of lm-evaluation-harness. For nothing else: Eyrie's own randomness is
// base/philox.h. M. Matsumoto, T. Nishimura: Mersenne Twister, ACM TOMACS 8 (1998); numbers are
// drawn as in CPython (3.2 and later).
#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace eyrie::text {

// Not thread-safe.
class PythonRandom {
 public:
  explicit PythonRandom(std::uint64_t seed);  // as random.Random(seed) with an integer

  std::uint32_t next();                // 32 bits, the twister's own output
  std::uint64_t bits(int count);       // getrandbits(count), 1 to 64
  std::int64_t below(std::int64_t n);  // randrange(n): 0 to n - 1; n at least 1
  double uniform();                    // random(): [0, 1), 53 bits
  // sample(range(n), k): k distinct numbers below n, in the order drawn; k is at most n.
  std::vector<std::int64_t> sample(std::int64_t n, std::int64_t k);

 private:
  static constexpr int kWords = 624;
  std::array<std::uint32_t, kWords> state_;
  int used_ = kWords;
};

}  // namespace eyrie::text
