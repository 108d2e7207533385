// How operations along time (the recurrence, the convolution) are split among the threads: into
// sequences, and if these are too few also into tiles of channels. A tile is walked through time
// row by row, so that memory is read in order.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>

#include "tensor/threads.h"

namespace eyrie::tensor::cpu {

// The most channels of a tile: what is carried along time stays in the L1 cache.
constexpr std::int64_t kChannelTile = 512;

struct ChannelTile {
  std::int64_t sequence, begin, end;
};

// Whether there are too few vectors of channels for the threads, so that these should share out
// time instead, which costs `factor` times the work.
inline bool too_narrow(std::int64_t sequences, std::int64_t channels, std::int64_t lanes,
                       std::int64_t factor) {
  return sequences * ((channels + lanes - 1) / lanes) * factor < thread_count();
}

// Calls body for tiles that cover all channels of all sequences. The tiles depend on the number of
// threads: what is computed for a channel must not depend on its tile.
inline void for_channel_tiles(std::int64_t sequences, std::int64_t channels, std::int64_t lanes,
                              const std::function<void(const ChannelTile&)>& body) {
  if (sequences <= 0 || channels <= 0) return;
  const auto ceiling = [](std::int64_t a, std::int64_t b) { return (a + b - 1) / b; };
  const std::int64_t threads = thread_count();
  std::int64_t pieces = std::max(ceiling(channels, kChannelTile), ceiling(threads, sequences));
  while (sequences * pieces % threads != 0) ++pieces;
  const std::int64_t tile = ceiling(ceiling(channels, pieces), lanes) * lanes;
  pieces = ceiling(channels, tile);
  parallel_for(sequences * pieces, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t first = i % pieces * tile;
      body({i / pieces, first, std::min(first + tile, channels)});
    }
  });
}

}  // namespace eyrie::tensor::cpu
