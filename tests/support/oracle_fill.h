// The numbers that every golden of zood is computed from: variables and images made by a counter
// based generator, reproduced here bit for bit.
//
//   seed   FNV-1a-64 of a name
//   z(i)   output number i of splitmix64 with that seed
//   u(i)   (int(z(i) >> 40) - 2^23) * 2^-23, exact in float32, in [-1, 1)
//
// All that is added to a variable has a power of two as its scale, so that neither a wider
// intermediate nor a fused multiply-add can change a value.
//
// Header only; every function is pure. In a test inside namespace zood, write ::testing:: for
// GoogleTest's own names.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace zood::testing {

inline std::uint64_t Fnv1a64(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return hash;
}

// Output number `i` (from 0) of splitmix64 seeded with `seed`.
inline std::uint64_t SplitMix(std::uint64_t seed, std::uint64_t i) {
  std::uint64_t z = seed + (i + 1) * 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

// Element `i` of the uniform stream of `seed`, in [-1, 1).
inline float Uniform(std::uint64_t seed, std::uint64_t i) {
  const auto top = static_cast<std::int64_t>(SplitMix(seed, i) >> 40);
  return static_cast<float>(top - (1 << 23)) * (1.0f / (1 << 23));
}

// What a weight's scale is multiplied with: first layers that see inputs of rms 60 are damped so
// that statistics and biases matter, residual branches so that 200 layers do not blow up.
inline double WeightGain(std::string_view name) {
  constexpr std::array<std::string_view, 9> kFirstLayers = {
      "vgg_a/conv1/conv1_1/weights", "vgg_16/conv1/conv1_1/weights", "vgg_19/conv1/conv1_1/weights",
      "alexnet_v2/conv1/weights",    "overfeat/conv1/weights",       "resnet_v1_50/conv1/weights",
      "resnet_v1_101/conv1/weights", "resnet_v1_152/conv1/weights",  "resnet_v1_200/conv1/weights"};
  if (std::find(kFirstLayers.begin(), kFirstLayers.end(), name) != kFirstLayers.end()) {
    return 1.0 / 64;
  }
  if (name.ends_with("/bottleneck_v1/conv3/weights")) return 0.125;
  if (name.ends_with("/bottleneck_v2/conv3/weights")) return 0.25;
  if (name.ends_with("/project/weights")) return 0.5;
  const bool is_cell = name.starts_with("cell_") || name.starts_with("reduction_cell_");
  return is_cell && name.ends_with("/pointwise_weights") ? 0.5 : 1.0;
}

// A variable's values are base + u * scale.
struct FillRange {
  float base = 0;
  float scale = 1;
};

// `name` has no ":0"; `shape` is TensorFlow's (HWIO, [in, out], [H, W, C, M] for depthwise).
inline FillRange RangeOf(std::string_view name, std::span<const std::int64_t> shape) {
  const std::string_view leaf = name.substr(name.rfind('/') + 1);  // npos + 1 is 0
  if (leaf == "weights" || leaf == "depthwise_weights" || leaf == "pointwise_weights") {
    // A depthwise filter sees height x width inputs, every other one all but the last dimension.
    const std::size_t inputs = leaf == "depthwise_weights" ? 2 : shape.size() - 1;
    double fan_in = 1;
    for (const std::int64_t size : shape.first(inputs)) fan_in *= static_cast<double>(size);
    return {0.0f, static_cast<float>(std::sqrt(6.0 / fan_in) * WeightGain(name))};
  }
  if (leaf == "biases" || leaf == "beta" || leaf == "moving_mean") return {0.0f, 0.125f};
  if (leaf == "gamma") return {1.0f, 0.125f};
  if (leaf == "moving_variance") return {1.0f, 0.5f};
  return {};
}

// The values of the variable `name`, in row-major order.
inline std::vector<float> Fill(std::string_view name, std::span<const std::int64_t> shape) {
  const FillRange range = RangeOf(name, shape);
  const std::uint64_t seed = Fnv1a64(name);
  std::uint64_t count = 1;
  for (const std::int64_t size : shape) count *= static_cast<std::uint64_t>(size);
  std::vector<float> values(count);
  for (std::uint64_t i = 0; i < count; ++i) {
    values[i] = range.base + Uniform(seed, i) * range.scale;
  }
  return values;
}

inline std::vector<float> Fill(std::string_view name, std::initializer_list<std::int64_t> shape) {
  return Fill(name, std::span<const std::int64_t>(shape.begin(), shape.size()));
}

// Sum of the bit patterns as uint32, mod 2^64: the goldens' checksum of variables, in any order.
inline std::uint64_t BitsSum(std::span<const float> values) {
  std::uint64_t sum = 0;
  for (const float value : values) sum += std::bit_cast<std::uint32_t>(value);
  return sum;
}

// Test image number `index`: uint8, HWC. Coarse cells of a quarter of the height mixed with noise,
// three to one for even numbers, one to three for odd ones.
inline std::vector<std::uint8_t> ImageU8(int index, int height, int width, int channels) {
  const std::string name = "image/" + std::to_string(index);
  const std::uint64_t fine_seed = Fnv1a64(name + "/fine");
  const std::uint64_t coarse_seed = Fnv1a64(name + "/coarse");
  const int cell = std::max(1, height / 4);
  const unsigned coarse_weight = index % 2 == 0 ? 3 : 1;
  std::vector<std::uint8_t> pixels;
  pixels.reserve(static_cast<std::size_t>(height) * width * channels);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      const std::uint64_t square = static_cast<std::uint64_t>(y / cell) * 64 + x / cell;
      for (int c = 0; c < channels; ++c) {
        const auto fine = static_cast<unsigned>(SplitMix(fine_seed, pixels.size()) >> 56);
        const std::uint64_t in_grid = square * channels + c;
        const auto coarse = static_cast<unsigned>(SplitMix(coarse_seed, in_grid) >> 56);
        const unsigned mixed = coarse_weight * coarse + (4 - coarse_weight) * fine;
        pixels.push_back(static_cast<std::uint8_t>(mixed >> 2));
      }
    }
  }
  return pixels;
}

}  // namespace zood::testing
