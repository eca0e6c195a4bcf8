// Where stretches of memory lie that are not all in use at the same time.
#pragma once

#include <cstddef>
#include <limits>
#include <span>

namespace zood::engine {

// A cache line, and the widest vector. Every stretch begins at a multiple of it.
inline constexpr std::size_t kArenaAlignment = 64;

inline std::size_t RoundUpToAlignment(std::size_t bytes) {
  return (bytes + kArenaAlignment - 1) / kArenaAlignment * kArenaAlignment;
}

// A stretch of memory, the steps during which it is in use, and where it is put. One that no step
// touches needs no place.
struct Block {
  std::size_t bytes = 0;  // a multiple of kArenaAlignment
  int first = std::numeric_limits<int>::max();
  int last = -1;
  std::size_t offset = 0;

  void Touch(int step) {
    first = first < step ? first : step;
    last = last > step ? last : step;
  }
};

// Sets every offset so that blocks in use at the same step do not overlap, and returns the bytes
// needed for all. Blocks are placed largest first, each at the lowest offset where no block with an
// overlapping lifetime is in the way (greedy by size; Pisarchyk and Lee, 2020). It costs the square
// of the number of blocks.
std::size_t PlaceBlocks(std::span<Block> blocks);

}  // namespace zood::engine
