#include "graph/function.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace zood::graph {
namespace {

using testing::ElementsAre;
using testing::FloatNear;
using testing::Pointwise;

std::vector<float> Forward(const ActivationPtr& f, const std::vector<float>& x) {
  std::vector<float> y(x.size());
  f->Forward(x, y);
  return y;
}

TEST(ActivationTest, ComputesItsFunction) {
  const std::vector<float> x = {-2, -0.5f, 0, 0.5f, 7};
  EXPECT_THAT(Forward(Relu(), x), ElementsAre(0, 0, 0, 0.5f, 7));
  EXPECT_THAT(Forward(Relu6(), x), ElementsAre(0, 0, 0, 0.5f, 6));
  EXPECT_THAT(Forward(LeakyRelu(0.25f), x), ElementsAre(-0.5f, -0.125f, 0, 0.5f, 7));
  EXPECT_THAT(Forward(Linear(2, 1), x), ElementsAre(-3, 0, 1, 2, 15));
  EXPECT_THAT(Forward(Elu(), x),
              Pointwise(FloatNear(1e-6f), {-0.86466472f, -0.39346934f, 0.0f, 0.5f, 7.0f}));
  EXPECT_THAT(Forward(Tanh(), x), Pointwise(FloatNear(1e-6f), {-0.96402758f, -0.46211716f, 0.0f,
                                                               0.46211716f, 0.99999834f}));
  EXPECT_THAT(Forward(Sigmoid(), x), Pointwise(FloatNear(1e-6f), {0.11920292f, 0.37754067f, 0.5f,
                                                                  0.62245933f, 0.99908895f}));
}

TEST(ActivationTest, BackwardIsTheSlopeTimesTheGradient) {
  const std::vector<float> x = {-1.5f, -0.25f, 0.75f, 3, 6.5f};
  const std::vector<float> dy = {1, -2, 3, 0.5f, 4};
  constexpr float kStep = 1e-2f;
  for (const ActivationPtr& f :
       {Relu(), Relu6(), LeakyRelu(0.1f), Elu(), Tanh(), Sigmoid(), Linear(-3, 2)}) {
    const std::vector<float> y = Forward(f, x);
    std::vector<float> dx(x.size());
    f->Backward(x, y, dy, dx);
    for (std::size_t i = 0; i < x.size(); ++i) {
      const std::vector<float> around = Forward(f, {x[i] - kStep, x[i] + kStep});
      const float slope = (around[1] - around[0]) / (2 * kStep);
      EXPECT_NEAR(dx[i], dy[i] * slope, 1e-3) << f->name() << " at " << x[i];
    }
    std::vector<float> in_place = dy;
    f->Backward(x, y, in_place, in_place);
    EXPECT_EQ(in_place, dx) << f->name();
  }
}

// TensorFlow's gradients at the corners.
TEST(ActivationTest, CornersHaveNoSlope) {
  const std::vector<float> x = {0, 6};
  std::vector<float> dx(2);
  Relu6()->Backward(x, x, std::vector<float>{1, 1}, dx);
  EXPECT_THAT(dx, ElementsAre(0, 0));
  Relu()->Backward(x, x, std::vector<float>{1, 1}, dx);
  EXPECT_THAT(dx, ElementsAre(0, 1));
}

TEST(ActivationTest, KernelsDescribeTheSameFunction) {
  EXPECT_EQ(Relu()->kernel(), (Eltwise{Eltwise::Kind::kRelu, 0, 0}));
  EXPECT_EQ(Relu6()->kernel(), (Eltwise{Eltwise::Kind::kClip, 0, 6}));
  EXPECT_EQ(Linear(2, 1)->kernel(), (Eltwise{Eltwise::Kind::kLinear, 2, 1}));
}

// --- Initializers.

struct Statistics {
  double mean = 0;
  double stddev = 0;
  double low = 0;
  double high = 0;
};

std::vector<float> Drawn(const InitializerPtr& initializer, const Shape& shape,
                         std::uint64_t seed = 1) {
  std::vector<float> values(static_cast<std::size_t>(shape.num_elements()));
  initializer->Fill(shape, seed, values);
  return values;
}

Statistics StatisticsOf(const std::vector<float>& values) {
  Statistics s;
  s.mean = std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
  for (const float value : values) s.stddev += (value - s.mean) * (value - s.mean);
  s.stddev = std::sqrt(s.stddev / static_cast<double>(values.size()));
  s.low = *std::ranges::min_element(values);
  s.high = *std::ranges::max_element(values);
  return s;
}

// The standard deviation of a normal distribution cut at two of its own.
constexpr double kTruncated = 0.87962566;

TEST(InitializerTest, ConstantsAreConstant) {
  EXPECT_THAT(Drawn(Constant(2.5f), {2, 2}), ElementsAre(2.5f, 2.5f, 2.5f, 2.5f));
  EXPECT_THAT(Drawn(Zeros(), {2}), ElementsAre(0, 0));
  EXPECT_THAT(Drawn(Ones(), {2}), ElementsAre(1, 1));
}

TEST(InitializerTest, UniformFillsItsInterval) {
  const Statistics s = StatisticsOf(Drawn(RandomUniform(-1, 3), {100000}));
  EXPECT_NEAR(s.mean, 1, 0.02);
  EXPECT_NEAR(s.stddev, 4 / std::sqrt(12.0), 0.02);
  EXPECT_GE(s.low, -1);
  EXPECT_LE(s.high, 3);
  EXPECT_LT(s.low, -0.99);
  EXPECT_GT(s.high, 2.99);
}

TEST(InitializerTest, TruncatedNormalHasNothingBeyondTwoDeviations) {
  const Statistics s = StatisticsOf(Drawn(TruncatedNormal(0.1f, 5), {100000}));
  EXPECT_NEAR(s.mean, 5, 0.002);
  EXPECT_NEAR(s.stddev, 0.1 * kTruncated, 0.001);
  EXPECT_GE(s.low, 4.8 - 1e-6);
  EXPECT_LE(s.high, 5.2 + 1e-6);
  EXPECT_LT(s.low, 4.81);
  EXPECT_GT(s.high, 5.19);
}

TEST(InitializerTest, XavierDependsOnBothFans) {
  // fan_in 3 * 3 * 64, fan_out 3 * 3 * 128
  const Statistics conv = StatisticsOf(Drawn(Xavier(), {3, 3, 64, 128}));
  const double limit = std::sqrt(6.0 / (9 * 64 + 9 * 128));
  EXPECT_NEAR(conv.mean, 0, 0.001);
  EXPECT_NEAR(conv.stddev, limit / std::sqrt(3.0), 0.01 * limit);
  EXPECT_GE(conv.low, -limit - 1e-7);
  EXPECT_LE(conv.high, limit + 1e-7);
  const Statistics dense = StatisticsOf(Drawn(Xavier(), {1000, 50}));
  EXPECT_NEAR(dense.stddev, std::sqrt(2.0 / 1050), 0.001);
}

TEST(InitializerTest, VarianceScalingDependsOnTheFanIn) {
  // slim draws from a truncated normal whose own deviation is sqrt(1.3 * factor / fan_in).
  for (const float factor : {1.0f, 2.0f}) {
    const Statistics s = StatisticsOf(Drawn(VarianceScaling(factor), {3, 3, 64, 128}));
    const double own = std::sqrt(1.3 * factor / (9 * 64));
    EXPECT_NEAR(s.mean, 0, 0.01 * own);
    EXPECT_NEAR(s.stddev, own * kTruncated, 0.01 * own);
    EXPECT_LE(s.high, 2 * own + 1e-6);
  }
}

TEST(InitializerTest, TheSeedDecides) {
  for (const InitializerPtr& initializer :
       {RandomUniform(0, 1), TruncatedNormal(1), Xavier(), VarianceScaling()}) {
    const Shape shape{4, 5};
    EXPECT_EQ(Drawn(initializer, shape, 7), Drawn(initializer, shape, 7)) << initializer->name();
    EXPECT_NE(Drawn(initializer, shape, 7), Drawn(initializer, shape, 8)) << initializer->name();
  }
}

// Neighboring seeds must not give shifted copies of one sequence.
TEST(InitializerTest, SeedsGiveUnrelatedSequences) {
  const std::vector<float> a = Drawn(RandomUniform(-1, 1), {10000}, 1);
  const std::vector<float> b = Drawn(RandomUniform(-1, 1), {10000}, 2);
  for (const std::size_t lag : {0u, 1u, 2u}) {
    double correlation = 0;
    for (std::size_t i = lag; i < a.size(); ++i) correlation += a[i] * b[i - lag];
    EXPECT_NEAR(correlation / static_cast<double>(a.size()) * 3, 0, 0.05) << lag;
  }
}

// --- Regularizers.

TEST(RegularizerTest, L2IsHalfTheSquare) {
  const std::vector<float> w = {1, -2, 0};
  EXPECT_NEAR(L2(0.5f)->Loss(w), 0.5 * 0.5 * 5, 1e-12);
  std::vector<float> gradient = {10, 10, 10};
  L2(0.5f)->AddGradient(w, gradient);
  EXPECT_THAT(gradient, ElementsAre(10.5f, 9, 10));
}

TEST(RegularizerTest, L1IsTheAbsoluteValue) {
  const std::vector<float> w = {1, -2, 0};
  EXPECT_NEAR(L1(0.5f)->Loss(w), 1.5, 1e-12);
  std::vector<float> gradient = {10, 10, 10};
  L1(0.5f)->AddGradient(w, gradient);
  EXPECT_THAT(gradient, ElementsAre(10.5f, 9.5f, 10));
}

}  // namespace
}  // namespace zood::graph
