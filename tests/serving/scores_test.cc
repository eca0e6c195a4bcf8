#include "serving/scores.h"

#include <gtest/gtest.h>

#include <cmath>

namespace zood::serving {
namespace {

using graph::OutputKind;

TEST(TopKTest, OrdersCutsAndBreaksTies) {
  const std::vector<float> logits = {1, 3, 3, 2};
  const auto top = [&](int k, float threshold) {
    return TopK(logits, OutputKind::kLogits, k, threshold);
  };
  const std::vector<ClassScore> all = top(100, 0);
  ASSERT_EQ(all.size(), 4u);
  EXPECT_EQ(all[0].index, 1);
  EXPECT_EQ(all[1].index, 2);
  EXPECT_EQ(all[2].index, 3);
  double sum = 0;
  for (const ClassScore& score : all) sum += score.probability;
  EXPECT_NEAR(sum, 1, 1e-6);
  EXPECT_EQ(top(2, 0).size(), 2u);
  EXPECT_EQ(top(4, 0.3f).size(), 2u);
  EXPECT_TRUE(top(4, 1).empty());
  EXPECT_TRUE(top(0, 0).empty());
  const std::vector<float> huge = {1e30f, 0, 1e30f};
  EXPECT_EQ(TopK(huge, OutputKind::kLogits, 1, 0)[0].probability, 0.5f);
}

TEST(TopKTest, SoftmaxIsForLogitsAlone) {
  const std::vector<float> outputs = {0.1f, 0.7f, 0.2f};
  for (const OutputKind kind :
       {OutputKind::kProbabilities, OutputKind::kIndependentProbabilities}) {
    const std::vector<ClassScore> scores = TopK(outputs, kind, 3, 0);
    EXPECT_EQ(scores[0].index, 1);
    EXPECT_EQ(scores[0].probability, 0.7f);
    EXPECT_EQ(scores[2].probability, 0.1f);
  }
  const std::vector<ClassScore> each = TopK(outputs, OutputKind::kIndependentLogits, 3, 0);
  EXPECT_NEAR(each[0].probability, 1 / (1 + std::exp(-0.7)), 1e-7);
  EXPECT_NEAR(each[2].probability, 1 / (1 + std::exp(-0.1)), 1e-7);
  EXPECT_EQ(TopK(outputs, OutputKind::kIndependentLogits, 3, 0.6f).size(), 1u);
  // A single class is not always certain.
  const std::vector<float> one = {0.135f};
  EXPECT_NEAR(TopK(one, OutputKind::kIndependentLogits, 5, 0)[0].probability, 0.5337, 1e-4);
  // Rounding leaves no probability outside of [0, 1].
  const std::vector<float> rounded = {1.0000001f, -1e-9f};
  EXPECT_EQ(TopK(rounded, OutputKind::kProbabilities, 2, 0)[0].probability, 1);
  EXPECT_EQ(TopK(rounded, OutputKind::kProbabilities, 2, 0)[1].probability, 0);
}

TEST(NegativeLogProbabilityTest, IsThatOfTheAnswer) {
  const std::vector<float> outputs = {0.25f, 0.5f, 0.125f, -3};
  for (const OutputKind kind : {OutputKind::kLogits, OutputKind::kIndependentLogits}) {
    for (const ClassScore& score : TopK(outputs, kind, 4, 0)) {
      EXPECT_NEAR(NegativeLogProbability(outputs, kind, static_cast<std::size_t>(score.index)),
                  -std::log(score.probability), 1e-6);
    }
  }
  EXPECT_NEAR(NegativeLogProbability(outputs, OutputKind::kProbabilities, 1), std::log(2), 1e-12);
  EXPECT_TRUE(std::isfinite(
      NegativeLogProbability(std::vector<float>{0, 1}, OutputKind::kIndependentProbabilities, 0)));
  EXPECT_NEAR(NegativeLogProbability(std::vector<float>{1000}, OutputKind::kIndependentLogits, 0),
              0, 0);
  EXPECT_NEAR(NegativeLogProbability(std::vector<float>{-1000}, OutputKind::kIndependentLogits, 0),
              1000, 0);
}

}  // namespace
}  // namespace zood::serving
