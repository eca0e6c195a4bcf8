#include "engine/tape/lifetime_plan.h"

#include <algorithm>
#include <functional>
#include <vector>

namespace zood::engine {

std::size_t PlaceBlocks(std::span<Block> blocks) {
  std::vector<Block*> order;
  for (Block& block : blocks) {
    if (block.bytes > 0 && block.last >= block.first) order.push_back(&block);
  }
  std::ranges::stable_sort(order, std::greater{}, [](const Block* block) { return block->bytes; });
  std::size_t bytes = 0;
  std::vector<const Block*> placed;  // by offset
  for (Block* block : order) {
    std::size_t offset = 0;
    for (const Block* other : placed) {
      if (other->last < block->first || other->first > block->last) continue;
      if (offset + block->bytes <= other->offset) break;
      offset = std::max(offset, other->offset + other->bytes);
    }
    block->offset = offset;
    bytes = std::max(bytes, offset + block->bytes);
    placed.insert(std::ranges::upper_bound(placed, offset, {},
                                           [](const Block* other) { return other->offset; }),
                  block);
  }
  return bytes;
}

}  // namespace zood::engine
