// Random numbers that are a pure function of what they are for. Private to this room.
#pragma once

#include <cstdint>
#include <initializer_list>

#include "base/seed.h"

namespace zood::train {

// splitmix64, begun with a hash of the key. Not std::mt19937 and std::uniform_*, whose
// distributions differ between standard libraries.
class Random {
 public:
  explicit Random(std::initializer_list<std::uint64_t> key) {
    for (const std::uint64_t part : key) state_ = DeriveSeed(state_, part);
  }

  std::uint64_t Next() {
    const std::uint64_t value = MixSeed(state_);
    state_ += 0x9E3779B97F4A7C15u;
    return value;
  }

  // In [low, high).
  double Uniform(double low, double high) {
    return low + (high - low) * (static_cast<double>(Next() >> 11) * 0x1p-53);
  }
  // In [0, count), for 0 < count < 2^31. No number is likelier than another by more than
  // count / 2^32.
  int Below(int count) {
    return static_cast<int>((Next() >> 32) * static_cast<std::uint64_t>(count) >> 32);
  }
  bool Coin() { return Next() >> 63 != 0; }

 private:
  std::uint64_t state_ = 0;
};

}  // namespace zood::train
