#include "tests/support/oracle_fill.h"

#include <gtest/gtest.h>

#include <numeric>

namespace zood::testing {
namespace {

// The check values published with the goldens.
TEST(OracleFillTest, HashAndStreamHaveTheirKnownValues) {
  EXPECT_EQ(Fnv1a64("a"), 0xaf63dc4c8601ec8cu);
  EXPECT_EQ(SplitMix(0, 0), 0xe220a8397b1dcdafu);
  EXPECT_EQ(SplitMix(0, 1), 0x6e789e6aa1b965f4u);
  EXPECT_EQ(SplitMix(0, 2), 0x06c45d188009454fu);
}

TEST(OracleFillTest, VariablesEqualTheGoldensSamples) {
  const std::vector<float> biases = Fill("LeNet/conv1/biases", {32});
  EXPECT_EQ(BitsSum(biases), 0x0000000d9e084efcu);
  EXPECT_EQ(biases[0], 0x1.51716p-6f);
  EXPECT_EQ(biases[1], -0x1.69202p-5f);
  const std::vector<float> weights = Fill("LeNet/fc4/weights", {1024, 10});
  EXPECT_EQ(BitsSum(weights), 0x0000135e3f5d4b7au);
  EXPECT_EQ(weights[0], -0x1.2789ap-7f);
}

TEST(OracleFillTest, ScalesFollowTheNameAndTheShape) {
  const std::int64_t conv[] = {7, 7, 3, 64};
  EXPECT_EQ(RangeOf("resnet_v1_50/conv1/weights", conv).scale,
            static_cast<float>(std::sqrt(6.0 / 147) / 64));
  const std::int64_t depthwise[] = {3, 3, 32, 1};
  EXPECT_EQ(RangeOf("a/depthwise_weights", depthwise).scale,
            static_cast<float>(std::sqrt(6.0 / 9)));
  EXPECT_EQ(WeightGain("x/bottleneck_v1/conv3/weights"), 0.125);
  EXPECT_EQ(WeightGain("x/bottleneck_v2/conv3/weights"), 0.25);
  EXPECT_EQ(WeightGain("x/project/weights"), 0.5);
  EXPECT_EQ(WeightGain("cell_0/pointwise_weights"), 0.5);
  EXPECT_EQ(RangeOf("a/moving_variance", {}).base, 1.0f);
}

TEST(OracleFillTest, ImagesEqualTheGoldensInputs) {
  const auto sum = [](const std::vector<std::uint8_t>& pixels) {
    return std::accumulate(pixels.begin(), pixels.end(), std::uint64_t{0});
  };
  const std::vector<std::uint8_t> digit = ImageU8(1, 28, 28, 1);
  EXPECT_EQ(sum(digit), 100006u);
  EXPECT_EQ(digit[0], 68);
  EXPECT_EQ(digit[1], 195);
  EXPECT_EQ(sum(ImageU8(0, 375, 500, 3)), 76776686u);
}

}  // namespace
}  // namespace zood::testing
