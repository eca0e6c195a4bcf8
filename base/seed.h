// Seeds and random numbers, as pure functions: no generator has a state that would have to be
// saved. Each value is a splitmix64 step (Steele, Lea and Flood, 2014) of the one before.
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>

namespace zood {

inline constexpr std::uint64_t kSeedStep = 0x9E3779B97F4A7C15u;

inline std::uint64_t MixSeed(std::uint64_t x) {
  x += kSeedStep;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

// FNV-1a; `hash` continues one.
inline std::uint64_t HashName(std::string_view name, std::uint64_t hash = 0xcbf29ce484222325u) {
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return hash;
}

// A seed for each use of `seed` identified by a number or a name.
inline std::uint64_t DeriveSeed(std::uint64_t seed, std::uint64_t number) {
  return MixSeed(MixSeed(seed) ^ number);
}
inline std::uint64_t DeriveSeed(std::uint64_t seed, std::string_view name) {
  return DeriveSeed(seed, HashName(name));
}

// Numbers by counter, so that the i-th depends on the seed and i alone.
class SplitMix {
 public:
  explicit SplitMix(std::uint64_t seed) : state_(seed) {}

  std::uint64_t Next() { return MixSeed(std::exchange(state_, state_ + kSeedStep)); }
  // In [0, 1), 53 bits.
  double Uniform() { return static_cast<double>(Next() >> 11) * 0x1p-53; }

 private:
  std::uint64_t state_;
};

}  // namespace zood
