// Random numbers that are a pure function of what they are for. Private to this room.
#pragma once

#include <cstdint>
#include <initializer_list>

#include "base/seed.h"

namespace zood::train {

// splitmix64, begun with a hash of the key. Not std::mt19937 and std::uniform_*, whose
// distributions differ between standard libraries.
class Random : public SplitMix {
 public:
  explicit Random(std::initializer_list<std::uint64_t> key) : SplitMix(Hash(key)) {}

  // In [low, high).
  double Uniform(double low, double high) { return low + (high - low) * SplitMix::Uniform(); }
  // In [0, count), for 0 < count < 2^31. No number is likelier than another by more than
  // count / 2^32.
  int Below(int count) {
    return static_cast<int>((Next() >> 32) * static_cast<std::uint64_t>(count) >> 32);
  }
  bool Coin() { return Next() >> 63 != 0; }

 private:
  static std::uint64_t Hash(std::initializer_list<std::uint64_t> key) {
    std::uint64_t seed = 0;
    for (const std::uint64_t part : key) seed = DeriveSeed(seed, part);
    return seed;
  }
};

}  // namespace zood::train
