#include "train/math/gradient.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "tests/train/tensorflow_results.h"

namespace zood::train {
namespace {

using ::testing::ElementsAre;
using testing::Floats;
using ::testing::HasSubstr;
using testing::Json;
using testing::TensorFlowResults;

std::vector<float> Flat(const Json& rows) {
  std::vector<float> values;
  for (const Json& row : rows) {
    for (const float value : Floats(row)) values.push_back(value);
  }
  return values;
}

absl::Status Apply(const GradientRule& rule, std::span<const Gradient> gradients,
                   std::int64_t step = 0) {
  return rule.Apply(step, gradients, {});
}

TEST(GradientTest, ClippingByNormsIsTensorFlows) {
  const Json& results = TensorFlowResults()["clipping"];
  std::vector<float> a = Flat(results["a"]), b = Floats(results["b"]);
  const std::vector<Gradient> gradients = {{"a", a}, {"b", b}};
  const Json& global = results["clip_by_global_norm 1.5"];
  const double norm = global["global_norm"];
  EXPECT_NEAR(*GlobalNorm(gradients), norm, 1e-6 * norm);
  ASSERT_TRUE(Apply(**ClipByGlobalNorm(1.5f), gradients).ok());
  testing::ExpectNear(a, Flat(global["a"]), "a");
  testing::ExpectNear(b, Floats(global["b"]), "b");

  std::ranges::copy(Flat(results["a"]), a.begin());
  std::ranges::copy(Floats(results["b"]), b.begin());
  ASSERT_TRUE(Apply(**ClipByNorm(1.5f), gradients).ok());
  testing::ExpectNear(a, Flat(results["clip_by_norm 1.5 (slim clip_gradient_norm: per variable)"]),
                      "a alone");
  EXPECT_EQ(b, Floats(results["b"])) << "its norm is below the bound";
}

TEST(GradientTest, AdaptiveClippingIsTensorFlows) {
  const Json& results = TensorFlowResults()["clipping"];
  for (const bool use_step : {false, true}) {
    const std::string name =
        std::string("adaptive std_factor 2 decay 0.95 ") + (use_step ? "global_step" : "no step");
    const GradientRulePtr rule = *AdaptiveClipping({.use_step = use_step});
    std::vector<float> state;
    for (const StateSpec& spec : rule->state()) state.push_back(spec.initial_value);
    ASSERT_EQ(results[name].size(), 8u);
    for (std::int64_t step = 0; step < 8; ++step) {
      const std::vector<float> row = Floats(results[name][static_cast<std::size_t>(step)]);
      std::vector<float> g = {0.6f * row[0], 0.8f * row[0]};
      const Gradient gradient = {"v", g};
      ASSERT_TRUE(rule->Apply(step, std::span(&gradient, 1), state).ok());
      testing::ExpectNear(g, std::span(row).subspan(1), name + ", step " + std::to_string(step));
    }
  }
}

TEST(GradientTest, AdaptiveClippingHoldsItsStaticBound) {
  const GradientRulePtr rule = *AdaptiveClipping({.static_max_norm = 0.5f});
  std::vector<float> g = {0.6f, 0.8f}, state = {0, 0};
  const Gradient gradient = {"v", g};
  ASSERT_TRUE(rule->Apply(0, std::span(&gradient, 1), state).ok());
  testing::ExpectNear(g, std::vector<float>{0.3f, 0.4f}, "static bound");
}

TEST(GradientTest, ClippingByValueClampsEachElement) {
  std::vector<float> g = {-3, -0.5f, 0.25f, 7};
  const Gradient gradient = {"v", g};
  ASSERT_TRUE(Apply(**ClipByValue(-1, 2), std::span(&gradient, 1)).ok());
  EXPECT_THAT(g, ElementsAre(-1, -0.5f, 0.25f, 2));
}

TEST(GradientTest, AGradientThatIsNotFiniteNamesItsVariable) {
  std::vector<float> a = {1}, b = {1, std::numeric_limits<float>::infinity()};
  const std::vector<Gradient> gradients = {{"a", a}, {"conv1/weights", b}};
  for (const auto& rule : {ClipByNorm(1), ClipByGlobalNorm(1)}) {
    const absl::Status status = Apply(**rule, gradients);
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(std::string(status.message()), HasSubstr("'conv1/weights' is not finite"));
  }
}

TEST(GradientTest, TheFirstMultiplierThatMatchesCounts) {
  std::vector<float> a = {1}, b = {1}, c = {1}, d = {1};
  const std::vector<Gradient> gradients = {
      {"net/fc8/weights", a}, {"net/fc8/biases", b}, {"net/conv1/weights", c}, {"net/fc8x", d}};
  const GradientRulePtr rule =
      *GradientMultipliers({{"net/fc8/biases", 20}, {"*/fc8/*", 10}, {"net/*v1/w*ts", 0}});
  ASSERT_TRUE(Apply(*rule, gradients).ok());
  EXPECT_EQ(a[0], 10);
  EXPECT_EQ(b[0], 20);
  EXPECT_EQ(c[0], 0);
  EXPECT_EQ(d[0], 1);
}

TEST(GradientTest, AMultiplierThatMatchesNothingIsRefused) {
  std::vector<float> a = {1};
  const std::string name = "net/fc8/weights";
  const Gradient gradient = {name, a};
  for (const char* pattern : {"net/fc9/*", "fc8/weights", "net/fc8/weights*x", "net", ""}) {
    const GradientRulePtr rule = *GradientMultipliers({{"*/weights", 1}, {pattern, 2}});
    for (const absl::Status& status :
         {Apply(*rule, std::span(&gradient, 1)), rule->Check(std::vector{name})}) {
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << pattern;
      EXPECT_THAT(std::string(status.message()), HasSubstr(std::string("'") + pattern + "'"));
    }
  }
  EXPECT_TRUE((*GradientMultipliers({{"net/*", 2}}))->Check(std::vector{name}).ok());
}

// Exponential in a matcher that tries every division of the name.
TEST(GradientTest, AHostilePatternCostsNoTime) {
  std::string pattern, name(20000, 'a');
  for (int i = 0; i < 1000; ++i) pattern += "a*";
  std::vector<float> a = {1};
  const Gradient gradient = {name, a};
  EXPECT_FALSE(Apply(**GradientMultipliers({{pattern + "b", 2}}), std::span(&gradient, 1)).ok());
}

std::vector<float> Noise(std::uint64_t seed, std::int64_t step, std::string_view variable,
                         std::size_t count = 4) {
  std::vector<float> g(count), other(3);
  const std::vector<Gradient> gradients = {{"first", other}, {variable, g}};
  EXPECT_TRUE(Apply(**GradientNoise(1, seed), gradients, step).ok());
  return g;
}

TEST(GradientTest, NoiseDependsOnSeedStepAndVariableAlone) {
  const std::vector<float> noise = Noise(7, 3, "w");
  EXPECT_EQ(noise, Noise(7, 3, "w"));
  EXPECT_NE(noise, Noise(8, 3, "w"));
  EXPECT_NE(noise, Noise(7, 4, "w"));
  EXPECT_NE(noise, Noise(7, 3, "v"));
  std::vector<float> alone(4);
  const Gradient gradient = {"w", alone};
  ASSERT_TRUE(Apply(**GradientNoise(1, 7), std::span(&gradient, 1), 3).ok());
  EXPECT_EQ(noise, alone);
}

// A normal distribution cut at two deviations has the variance 1 - 4 phi(2) / (2 Phi(2) - 1).
TEST(GradientTest, NoiseIsATruncatedNormalTimesItsScale) {
  constexpr std::size_t kCount = 200000;
  std::vector<float> g(kCount, 5);
  const Gradient gradient = {"w", g};
  ASSERT_TRUE(Apply(**GradientNoise(0.5f, 1), std::span(&gradient, 1)).ok());
  double sum = 0, squares = 0, largest = 0;
  for (const float value : g) {
    const double noise = (value - 5) / 0.5;
    sum += noise;
    squares += noise * noise;
    largest = std::max(largest, std::abs(noise));
  }
  EXPECT_NEAR(sum / kCount, 0, 0.01);
  EXPECT_NEAR(squares / kCount, 0.773741, 0.01);
  EXPECT_LE(largest, 2.00001);
  EXPECT_GT(largest, 1.99);
}

// A rule that zood does not have.
class Centralization final : public GradientRule {
 public:
  std::string name() const override { return "centralization"; }
  absl::Status Apply(std::int64_t, std::span<const Gradient> gradients,
                     std::span<float>) const override {
    for (const Gradient& gradient : gradients) {
      float mean = 0;
      for (const float value : gradient.values) mean += value;
      mean /= static_cast<float>(gradient.values.size());
      for (float& value : gradient.values) value -= mean;
    }
    return absl::OkStatus();
  }
};

TEST(GradientTest, ARuleOfItsCallersOwnStandsBesideZoods) {
  std::vector<float> g = {1, 3};
  const Gradient gradient = {"v", g};
  const std::vector<GradientRulePtr> rules = {
      *GradientMultipliers({{"*", 4}}), std::make_shared<Centralization>(), *ClipByValue(-3, 9)};
  for (const GradientRulePtr& rule : rules) {
    ASSERT_TRUE(Apply(*rule, std::span(&gradient, 1)).ok());
  }
  EXPECT_THAT(g, ElementsAre(-3, 4));
}

TEST(GradientTest, OptionsOutOfRangeAreRefused) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const absl::Status& status :
       {ClipByValue(1, -1).status(), ClipByValue(nan, 1).status(), ClipByNorm(0).status(),
        ClipByGlobalNorm(nan).status(), AdaptiveClipping({.decay = 2}).status(),
        AdaptiveClipping({.static_max_norm = 0.0f}).status(),
        GradientMultipliers({{"w", nan}}).status(), GradientNoise(-1, 0).status()}) {
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace zood::train
