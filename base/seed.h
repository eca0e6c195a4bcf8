// Seeds for whatever is random, as pure functions: no generator has a state that would have to be
// saved. Each value is a splitmix64 step (Steele, Lea and Flood, 2014) of the one before.
#pragma once

#include <cstdint>
#include <string_view>

namespace zood {

inline std::uint64_t MixSeed(std::uint64_t x) {
  x += 0x9E3779B97F4A7C15u;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

// A seed for each use of `seed` that a number or a name tells apart.
inline std::uint64_t DeriveSeed(std::uint64_t seed, std::uint64_t number) {
  return MixSeed(MixSeed(seed) ^ number);
}
inline std::uint64_t DeriveSeed(std::uint64_t seed, std::string_view name) {
  std::uint64_t hash = 0xcbf29ce484222325u;  // FNV-1a
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return DeriveSeed(seed, hash);
}

}  // namespace zood
