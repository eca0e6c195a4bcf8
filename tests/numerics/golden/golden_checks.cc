#include "tests/numerics/golden/golden_checks.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "tests/support/oracle_fill.h"

namespace zood::testing {
namespace {

double StandardDeviation(std::span<const double> values) {
  const auto count = static_cast<double>(values.size());
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / count;
  double squares = 0;
  for (const double value : values) squares += (value - mean) * (value - mean);
  return std::sqrt(squares / count);
}

std::vector<int> TopClasses(std::span<const double> logits, std::size_t count) {
  std::vector<int> classes(logits.size());
  std::iota(classes.begin(), classes.end(), 0);
  std::ranges::stable_sort(classes, [&](int a, int b) {
    return logits[static_cast<std::size_t>(a)] > logits[static_cast<std::size_t>(b)];
  });
  classes.resize(std::min(count, classes.size()));
  return classes;
}

}  // namespace

void ExpectVariables(const Golden& golden, const TensorMap& weights) {
  EXPECT_EQ(weights.size(), golden.variable_count);
  std::int64_t elements = 0;
  std::uint64_t bits_sum = 0;
  for (const auto& [name, tensor] : weights) {
    elements += tensor.num_elements();
    bits_sum += BitsSum(tensor.values<float>());
  }
  EXPECT_EQ(elements, golden.variable_elements);
  EXPECT_EQ(bits_sum, golden.variable_bits_sum);
  for (const GoldenVariable& sample : golden.variable_samples) {
    SCOPED_TRACE(sample.name);
    const auto it = weights.find(sample.name);
    if (it == weights.end()) {
      ADD_FAILURE() << "the network has no such variable";
      continue;
    }
    EXPECT_EQ(it->second.shape(), sample.shape) << it->second.shape().ToString();
    const auto values = it->second.values<float>();
    EXPECT_EQ(BitsSum(values), sample.bits_sum);
    for (std::size_t i = 0; i < std::min(values.size(), sample.first4.size()); ++i) {
      EXPECT_EQ(values[i], sample.first4[i]) << i;
    }
  }
}

void ExpectImages(const Golden& golden, std::span<const float> images) {
  for (const GoldenImage& image : golden.images) {
    const auto pixels =
        ImageU8(image.index, golden.args.height, golden.args.width, golden.args.channels);
    EXPECT_EQ(std::accumulate(pixels.begin(), pixels.end(), std::uint64_t{0}), image.u8_sum);
    for (std::size_t i = 0; i < std::min(pixels.size(), image.u8_first12.size()); ++i) {
      EXPECT_EQ(pixels[i], image.u8_first12[i]) << i;
    }
  }
  const std::vector<double> values(images.begin(), images.end());
  ExpectTensor(golden.input, values, 1e-7);
}

void ExpectLogits(const Golden& golden, std::span<const double> logits, double bound) {
  const std::size_t classes = golden.logits.front().size();
  ASSERT_EQ(logits.size(), golden.logits.size() * classes);
  for (std::size_t image = 0; image < golden.logits.size(); ++image) {
    SCOPED_TRACE("image " + std::to_string(image));
    const std::vector<double>& expected = golden.logits[image];
    const auto found = logits.subspan(image * classes, classes);
    const double deviation = StandardDeviation(expected);
    double worst = 0;
    std::size_t at = 0;
    for (std::size_t c = 0; c < classes; ++c) {
      const double distance = std::abs(found[c] - expected[c]);
      if (distance <= worst) continue;
      worst = distance;
      at = c;
      if (!std::isfinite(distance)) break;
    }
    // Written so that a NaN fails.
    EXPECT_TRUE(worst <= bound * deviation && std::isfinite(found[at]))
        << "class " << at << ": expected " << expected[at] << ", found " << found[at] << ", off by "
        << worst / deviation << " standard deviations; allowed are " << bound;
    EXPECT_EQ(TopClasses(found, golden.top5[image].size()), golden.top5[image]);
    ::testing::Test::RecordProperty("deviations_of_image_" + std::to_string(image),
                                    fmt::format("{:.2e}", worst / deviation));
  }
}

void ExpectTensor(const GoldenTensor& golden, std::span<const double> values, double bound) {
  SCOPED_TRACE(golden.name);
  ASSERT_EQ(static_cast<std::int64_t>(values.size()), golden.shape.num_elements());
  const double tolerance = bound * (golden.max - golden.min);
  const auto count = static_cast<double>(values.size());
  double sum = 0, squares = 0;
  for (const double value : values) {
    sum += value;
    squares += value * value;
  }
  const auto [min, max] = std::ranges::minmax_element(values);
  EXPECT_NEAR(sum / count, golden.mean, tolerance);
  EXPECT_NEAR(std::sqrt(squares / count), golden.rms, tolerance);
  EXPECT_NEAR(*min, golden.min, tolerance);
  EXPECT_NEAR(*max, golden.max, tolerance);
  for (std::size_t i = 0; i < std::min(values.size(), golden.first8.size()); ++i) {
    EXPECT_NEAR(values[i], golden.first8[i], tolerance) << "element " << i;
  }
  const std::size_t tail = std::min(values.size(), golden.last8.size());
  for (std::size_t i = 0; i < tail; ++i) {
    EXPECT_NEAR(values[values.size() - tail + i], golden.last8[golden.last8.size() - tail + i],
                tolerance)
        << "element " << tail - i << " from the end";
  }
}

}  // namespace zood::testing
