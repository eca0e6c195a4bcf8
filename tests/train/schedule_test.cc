#include "train/math/schedule.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>

#include "tests/train/tensorflow_results.h"

namespace zood::train {
namespace {

using testing::Json;
using testing::TensorFlowResults;

std::map<std::string, absl::StatusOr<SchedulePtr>> Schedules() {
  const DecayOptions exponential = {
      .learning_rate = 0.1f, .decay_steps = 10, .decay_rate = 0.94f, .staircase = false};
  DecayOptions stairs = exponential;
  stairs.staircase = true;
  const DecayOptions half = {.learning_rate = 0.1f, .decay_steps = 10, .decay_rate = 0.5f};
  DecayOptions half_stairs = half;
  half_stairs.staircase = true;
  const auto polynomial = [](float end, float power, bool cycle) {
    return PolynomialDecay({.learning_rate = 0.1f,
                            .decay_steps = 100,
                            .end_learning_rate = end,
                            .power = power,
                            .cycle = cycle});
  };
  return {
      {"exponential staircase 0.1 10 0.94", ExponentialDecay(stairs)},
      {"exponential smooth 0.1 10 0.94", ExponentialDecay(exponential)},
      {"polynomial 0.1 100 0.0001 power1", polynomial(0.0001f, 1, false)},
      {"polynomial 0.1 100 0.001 power2", polynomial(0.001f, 2, false)},
      {"polynomial 0.1 100 0.001 power1 cycle", polynomial(0.001f, 1, true)},
      {"piecewise [10,100] [0.1,0.01,0.001]",
       PiecewiseConstant({.boundaries = {10, 100}, .values = {0.1f, 0.01f, 0.001f}})},
      {"natural_exp 0.1 10 0.5", NaturalExponentialDecay(half)},
      {"inverse_time 0.1 10 0.5", InverseTimeDecay(half)},
      {"inverse_time staircase 0.1 10 0.5", InverseTimeDecay(half_stairs)},
      {"cosine 0.1 100 alpha0.1",
       CosineDecay({.learning_rate = 0.1f, .decay_steps = 100, .alpha = 0.1f})},
      {"cosine_restarts 0.1 30", CosineRestarts({.learning_rate = 0.1f, .first_decay_steps = 30})},
      {"linear_cosine 0.1 100", LinearCosineDecay({.learning_rate = 0.1f, .decay_steps = 100})},
  };
}

// Each value within 1e-6 of itself.
TEST(ScheduleTest, EveryRateIsTensorFlows) {
  const Json& results = TensorFlowResults()["schedules"];
  const auto schedules = Schedules();
  ASSERT_EQ(results["values"].size(), schedules.size());
  for (const auto& [name, rates] : results["values"].items()) {
    ASSERT_TRUE(schedules.contains(name)) << name;
    const auto& schedule = schedules.at(name);
    ASSERT_TRUE(schedule.ok()) << schedule.status();
    for (std::size_t i = 0; i < rates.size(); ++i) {
      const float expected = rates[i];
      const std::int64_t step = results["steps"][i];
      EXPECT_NEAR((*schedule)->LearningRate(step), expected, 1e-6 * expected)
          << name << " at step " << step;
    }
  }
}

TEST(ScheduleTest, AConstantRateStays) {
  const SchedulePtr schedule = *ConstantRate(0.25f);
  EXPECT_EQ(schedule->LearningRate(0), 0.25f);
  EXPECT_EQ(schedule->LearningRate(1'000'000'000'000), 0.25f);
}

// slim's rule: min(decayed, learning_rate * step / warmup_steps).
TEST(ScheduleTest, WarmUpIsALineUntilTheScheduleIsBelowIt) {
  const SchedulePtr after =
      *PiecewiseConstant({.boundaries = {6, 20}, .values = {0.4f, 0.1f, 0.01f}});
  const SchedulePtr schedule =
      *WarmUp({.learning_rate = 0.4f, .warmup_steps = 12.5, .after = after});
  EXPECT_EQ(schedule->LearningRate(0), 0);
  EXPECT_FLOAT_EQ(schedule->LearningRate(5), 0.16f);
  EXPECT_FLOAT_EQ(schedule->LearningRate(7), 0.1f);
  EXPECT_FLOAT_EQ(schedule->LearningRate(21), 0.01f);
  EXPECT_EQ((*WarmUp({.after = after}))->LearningRate(0), 0.4f);
}

// Each restart begins at its height, at whatever step the logarithm of its number rounds to.
TEST(ScheduleTest, CosineRestartsBeginAtTheirExactStep) {
  for (const float t_mul : {1.0f, 2.0f, 3.0f}) {
    const SchedulePtr schedule = *CosineRestarts(
        {.learning_rate = 1, .first_decay_steps = 7, .t_mul = t_mul, .m_mul = 0.5f});
    double start = 0, length = 7, height = 1;
    for (int restart = 0; restart < 12; ++restart) {
      EXPECT_FLOAT_EQ(schedule->LearningRate(static_cast<std::int64_t>(start)), height)
          << "restart " << restart << ", t_mul " << t_mul;
      start += length;
      EXPECT_LT(schedule->LearningRate(static_cast<std::int64_t>(start) - 1), 0.06 * height);
      length *= t_mul;
      height /= 2;
    }
  }
}

TEST(ScheduleTest, OptionsOutOfRangeAreRefused) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<absl::Status> refused = {
      ConstantRate(-1).status(),
      ConstantRate(nan).status(),
      ExponentialDecay({.decay_steps = 0}).status(),
      ExponentialDecay({.decay_rate = -1}).status(),
      NaturalExponentialDecay({.decay_steps = -5}).status(),
      InverseTimeDecay({.learning_rate = -1}).status(),
      PolynomialDecay({.power = 0}).status(),
      PolynomialDecay({.end_learning_rate = -1}).status(),
      PiecewiseConstant({}).status(),
      PiecewiseConstant({.boundaries = {5, 5}, .values = {1, 2, 3}}).status(),
      PiecewiseConstant({.boundaries = {5}, .values = {1, nan}}).status(),
      CosineDecay({.alpha = -1}).status(),
      CosineRestarts({.first_decay_steps = 0}).status(),
      CosineRestarts({.t_mul = 0.5f}).status(),
      LinearCosineDecay({.num_periods = nan}).status(),
      WarmUp({.warmup_steps = 10}).status(),
      WarmUp({.warmup_steps = -1, .after = *ConstantRate(1)}).status(),
  };
  for (std::size_t i = 0; i < refused.size(); ++i) {
    EXPECT_EQ(refused[i].code(), absl::StatusCode::kInvalidArgument) << "number " << i;
  }
}

}  // namespace
}  // namespace zood::train
