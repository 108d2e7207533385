// The Mersenne Twister with CPython's way of seeding and drawing.
#include "text/python_random.h"

#include <numeric>
#include <unordered_set>

#include "base/error.h"

namespace eyrie::text {

PythonRandom::PythonRandom(std::uint64_t seed) {
  // The seed's 32-bit words, lowest first; at least one.
  std::vector<std::uint32_t> key = {static_cast<std::uint32_t>(seed)};
  if (seed >> 32 != 0) key.push_back(static_cast<std::uint32_t>(seed >> 32));

  state_[0] = 19650218;
  for (std::uint32_t i = 1; i < kWords; ++i) {
    state_[i] = 1812433253u * (state_[i - 1] ^ (state_[i - 1] >> 30)) + i;
  }
  int i = 1;
  const auto step_on = [&] {
    if (++i == kWords) {
      state_[0] = state_[kWords - 1];
      i = 1;
    }
  };
  const auto mixed = [&](std::uint32_t factor) {
    return state_[i] ^ ((state_[i - 1] ^ (state_[i - 1] >> 30)) * factor);
  };
  for (int k = 0; k < kWords; ++k) {  // a key is never longer than the state here
    const std::size_t j = static_cast<std::size_t>(k) % key.size();
    state_[i] = mixed(1664525u) + key[j] + static_cast<std::uint32_t>(j);
    step_on();
  }
  for (int k = 1; k < kWords; ++k) {
    state_[i] = mixed(1566083941u) - static_cast<std::uint32_t>(i);
    step_on();
  }
  state_[0] = 0x80000000u;
}

std::uint32_t PythonRandom::next() {
  if (used_ == kWords) {
    for (int i = 0; i < kWords; ++i) {
      const std::uint32_t joined =
          (state_[i] & 0x80000000u) | (state_[(i + 1) % kWords] & 0x7fffffffu);
      state_[i] =
          state_[(i + 397) % kWords] ^ (joined >> 1) ^ ((joined & 1) != 0 ? 0x9908b0dfu : 0u);
    }
    used_ = 0;
  }
  std::uint32_t word = state_[used_++];
  word ^= word >> 11;
  word ^= (word << 7) & 0x9d2c5680u;
  word ^= (word << 15) & 0xefc60000u;
  return word ^ (word >> 18);
}

std::uint64_t PythonRandom::bits(int count) {
  EYRIE_CHECK(count >= 1 && count <= 64, "1 to 64 random bits");
  if (count <= 32) return next() >> (32 - count);
  const std::uint64_t low = next();
  return low | (static_cast<std::uint64_t>(next() >> (64 - count)) << 32);
}

std::int64_t PythonRandom::below(std::int64_t n) {
  EYRIE_CHECK(n >= 1, "a random number below something");
  int count = 0;
  for (std::int64_t rest = n; rest != 0; rest >>= 1) ++count;
  for (;;) {
    const auto drawn = static_cast<std::int64_t>(bits(count));
    if (drawn < n) return drawn;
  }
}

double PythonRandom::uniform() {
  const double high = next() >> 5, low = next() >> 6;
  return (high * 67108864.0 + low) / 9007199254740992.0;
}

std::vector<std::int64_t> PythonRandom::sample(std::int64_t n, std::int64_t k) {
  EYRIE_CHECK(k >= 0 && k <= n, "a sample is not larger than what it is drawn from");
  std::vector<std::int64_t> result(static_cast<std::size_t>(k));
  // CPython copies the population if that takes less memory than a set of the numbers drawn: 21 +
  // 4^ceil(log4(3k)).
  std::int64_t set_size = 21;
  if (k > 5) {
    std::int64_t power = 1;
    while (power < 3 * k) power *= 4;
    set_size += power;
  }
  if (n <= set_size) {
    std::vector<std::int64_t> pool(static_cast<std::size_t>(n));
    std::iota(pool.begin(), pool.end(), 0);
    for (std::int64_t i = 0; i < k; ++i) {
      const std::int64_t at = below(n - i);
      result[i] = pool[at];
      pool[at] = pool[n - i - 1];
    }
  } else {
    std::unordered_set<std::int64_t> drawn;
    for (std::int64_t& one : result) {
      do {
        one = below(n);
      } while (!drawn.insert(one).second);
    }
  }
  return result;
}

}  // namespace eyrie::text
