#include "train/math/finite.h"

#include <bit>
#include <cstdint>

namespace zood::train {

// Integers, so that the loop is vectorized: what is not finite, and nothing else, has an exponent
// of all ones, and one more carries into the sign's place.
bool AllFinite(std::span<const float> values) {
  constexpr std::uint32_t kMagnitude = 0x7fffffffu;
  constexpr std::uint32_t kOneInExponent = 0x00800000u;
  std::uint32_t carries = 0;
  for (const float value : values) {
    carries |= (std::bit_cast<std::uint32_t>(value) & kMagnitude) + kOneInExponent;
  }
  return carries >> 31 == 0;
}

}  // namespace zood::train
