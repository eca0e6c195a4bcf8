// Random numbers that are a pure function of what they are for. Private to this room.
#pragma once

#include <cstdint>
#include <initializer_list>

namespace zood::train {

// splitmix64 (Steele, Lea, Flood, 2014), seeded with a hash of the key. Not std::mt19937 and
// std::uniform_*, whose distributions differ between standard libraries.
class Random {
 public:
  explicit Random(std::initializer_list<std::uint64_t> key) {
    for (const std::uint64_t part : key) state_ = Next() ^ part;
    Next();
  }

  std::uint64_t Next() {
    std::uint64_t x = state_ += 0x9E3779B97F4A7C15u;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
  }

  // In [low, high).
  double Uniform(double low, double high) {
    return low + (high - low) * (static_cast<double>(Next() >> 11) * 0x1p-53);
  }
  // In [0, count), for 0 < count < 2^32: off by less than count / 2^32.
  int Below(int count) {
    return static_cast<int>((Next() >> 32) * static_cast<std::uint64_t>(count) >> 32);
  }
  bool Coin() { return Next() >> 63 != 0; }

 private:
  std::uint64_t state_ = 0;
};

}  // namespace zood::train
