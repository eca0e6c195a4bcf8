#include "train/math/optimizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "tests/support/status_testing.h"
#include "tests/train/tensorflow_results.h"
#include "train/math/optimizer_state.h"

namespace zood::train {
namespace {

using testing::Floats;
using testing::Json;
using testing::TensorFlowResults;

absl::StatusOr<OptimizerPtr> FromHyper(const std::string& name, const Json& hyper) {
  const auto get = [&](const char* key, float fallback) { return hyper.value(key, fallback); };
  if (name.starts_with("sgd")) return Sgd();
  if (name.starts_with("momentum")) {
    return Momentum({.momentum = get("momentum", 0), .nesterov = hyper.value("nesterov", false)});
  }
  if (name.starts_with("adagrad")) {
    return Adagrad({.initial_accumulator_value = get("initial_accumulator_value", 0)});
  }
  if (name.starts_with("adadelta")) {
    return Adadelta({.rho = get("rho", 0), .epsilon = get("epsilon", 0)});
  }
  if (name.starts_with("adam")) {
    return Adam({.beta1 = get("beta1", 0), .beta2 = get("beta2", 0), .epsilon = get("epsilon", 0)});
  }
  if (name.starts_with("rmsprop")) {
    return RmsProp({.decay = get("decay", 0),
                    .momentum = get("momentum", 0),
                    .epsilon = get("epsilon", 0),
                    .centered = hyper.value("centered", false)});
  }
  if (name.starts_with("ftrl")) {
    return Ftrl({.learning_rate_power = get("power", 0),
                 .initial_accumulator_value = get("initial_accumulator_value", 0),
                 .l1 = get("l1", 0),
                 .l2 = get("l2", 0)});
  }
  return absl::NotFoundError(name);
}

// The saved state, the variable itself included, has TensorFlow's names and values.
void ExpectState(const TensorMap& saved, const Json& expected, std::size_t step,
                 const std::string& what) {
  std::set<std::string> names = {"w"};
  for (const auto& [name, tensor] : saved) names.insert(name);
  EXPECT_EQ(names, expected["variables"].get<std::set<std::string>>()) << what;
  for (const auto& [slot, rows] : expected["slots"].items()) {
    const std::string name = expected["slot_variable"][slot];
    if (!saved.contains(name)) continue;  // reported above
    testing::ExpectNear(saved.at(name).values<float>(), Floats(rows[step]), what + ", " + name);
  }
}

TEST(OptimizerTest, EveryUpdateAndSlotIsTensorFlows) {
  const Json& results = TensorFlowResults()["optimizers"];
  ASSERT_EQ(results["cases"].size(), 14u);
  for (const auto& [name, expected] : results["cases"].items()) {
    ASSERT_OK_AND_ASSIGN(auto optimizer, FromHyper(name, expected["hyper"]));
    ASSERT_OK_AND_ASSIGN(auto state, OptimizerState::Create(optimizer, {{"w", {6}}}));
    std::vector<float> w = Floats(results["w0"]);
    ExpectState(*state.Save(), expected, 0, name + " before");
    for (std::size_t step = 0; step < results["g"].size(); ++step) {
      const std::vector<float> g = Floats(results["g"][step]);
      ASSERT_TRUE(
          state.Apply("w", static_cast<std::int64_t>(step), expected["hyper"]["lr"], g, w).ok());
      state.FinishStep();
      const std::string what = name + " after step " + std::to_string(step);
      testing::ExpectNear(w, Floats(expected["w"][step]), what);
      ExpectState(*state.Save(), expected, step + 1, what);
    }
  }
}

TEST(OptimizerTest, AdamSavesTheBetaPowersOfTheNextStep) {
  auto state = OptimizerState::Create(*Adam({}), {{"w", {1}}});
  std::vector<float> w = {1};
  const std::vector<float> g = {1};
  EXPECT_FLOAT_EQ(state->Save()->at("beta1_power").values<float>()[0], 0.9f);
  ASSERT_TRUE(state->Apply("w", 0, 0.1f, g, w).ok());
  state->FinishStep();
  EXPECT_FLOAT_EQ(state->Save()->at("beta1_power").values<float>()[0], 0.81f);
  EXPECT_FLOAT_EQ(state->Save()->at("beta2_power").values<float>()[0], 0.998001f);
}

// The rule in double, as docs/training.md states it.
TEST(OptimizerTest, FtrlShrinkageIsInTheLinearSlotAlone) {
  const double lr = 0.1, l1 = 0.01, l2 = 0.02, shrinkage = 0.3;
  auto optimizer = Ftrl({.l1 = 0.01f, .l2 = 0.02f, .l2_shrinkage = 0.3f});
  auto state = OptimizerState::Create(*optimizer, {{"w", {1}}});
  std::vector<float> w = {0.7f};
  double expected = 0.7, n = 0.1, z = 0;
  for (const float g : {0.5f, -0.25f, 1.0f}) {
    ASSERT_TRUE(state->Apply("w", 0, 0.1f, std::vector<float>{g}, w).ok());
    const double grown = n + g * g;
    z += g + 2 * shrinkage * expected - (std::sqrt(grown) - std::sqrt(n)) / lr * expected;
    n = grown;
    const double sign = z > 0 ? 1 : -1;
    expected = std::abs(z) > l1 ? (sign * l1 - z) / (std::sqrt(n) / lr + 2 * l2) : 0;
    EXPECT_NEAR(w[0], expected, 1e-6);
  }
}

// A warm-up begins at a rate of 0, and schedules end there. For FTRL TensorFlow divides by it.
TEST(OptimizerTest, ARateOfZeroLeavesEveryWeight) {
  for (const float power : {-0.5f, -0.7f}) {
    auto state =
        OptimizerState::Create(*Ftrl({.learning_rate_power = power, .l1 = 0.01f}), {{"w", {3}}});
    std::vector<float> w = {0.7f, -1, 0};
    const std::vector<float> before = w, g = {0.5f, 0, -1};
    ASSERT_TRUE(state->Apply("w", 0, 0, g, w).ok());
    EXPECT_EQ(w, before);
    // The step after it is as if there had been none.
    auto fresh =
        OptimizerState::Create(*Ftrl({.learning_rate_power = power, .l1 = 0.01f}), {{"w", {3}}});
    std::vector<float> other = before;
    ASSERT_TRUE(state->Apply("w", 1, 0.1f, g, w).ok());
    ASSERT_TRUE(fresh->Apply("w", 0, 0.1f, g, other).ok());
    EXPECT_EQ(w, other);
    for (const float x : w) EXPECT_TRUE(std::isfinite(x));
  }
}

TEST(OptimizerTest, AnUpdateThatIsNotFiniteSaysSo) {
  const float huge = std::numeric_limits<float>::max();
  for (const std::size_t at : {0u, 7u, 40u}) {
    auto state = OptimizerState::Create(Sgd(), {{"net/w", {41}}});
    std::vector<float> w(41, -huge), g(41, 0);
    g[at] = 1;
    EXPECT_TRUE(state->Apply("net/w", 0, 1, g, w).ok()) << "the largest number is one";
    const absl::Status status = state->Apply("net/w", 1, huge, g, w);
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr("'net/w'"));
  }
  // The second moment is beyond float32; the weight does not show it.
  auto adam = OptimizerState::Create(*Adam({}), {{"w", {1}}});
  std::vector<float> w = {1};
  EXPECT_FALSE(adam->Apply("w", 0, 0.1f, std::vector<float>{1e30f}, w).ok());
  EXPECT_TRUE(std::isfinite(w[0]));
}

std::vector<OptimizerPtr> AllOptimizers() {
  return {Sgd(),
          *Momentum({}),
          *Momentum({.nesterov = true}),
          *Adagrad({}),
          *Adadelta({}),
          *Adam({}),
          *Ftrl({}),
          *Ftrl({.learning_rate_power = -0.7f}),
          *RmsProp({.momentum = 0.9f}),
          *RmsProp({.momentum = 0.9f, .epsilon = 1e-3f, .centered = true})};
}

// Three steps of a long variable, updated in the pieces between `cuts`.
std::vector<float> Train(const Optimizer& optimizer, const std::vector<std::size_t>& cuts) {
  std::vector<float> w(cuts.back()), g(cuts.back());
  std::vector<std::vector<float>> slots;
  for (const StateSpec& spec : optimizer.slots()) slots.emplace_back(w.size(), spec.initial_value);
  std::vector<float> scalars;
  for (const StateSpec& spec : optimizer.scalars()) scalars.push_back(spec.initial_value);
  for (std::int64_t step = 0; step < 3; ++step) {
    for (std::size_t i = 0; i < g.size(); ++i) {
      g[i] = std::sin(0.37f * static_cast<float>(i) + static_cast<float>(step));
    }
    for (std::size_t k = 0; k + 1 < cuts.size(); ++k) {
      const std::size_t from = cuts[k], length = cuts[k + 1] - cuts[k];
      std::vector<std::span<float>> views;
      for (auto& slot : slots) views.push_back(std::span(slot).subspan(from, length));
      optimizer.Apply({.step = step,
                       .learning_rate = 0.01f,
                       .gradient = std::span(g).subspan(from, length),
                       .variable = std::span(w).subspan(from, length),
                       .slots = views,
                       .scalars = scalars});
    }
    optimizer.FinishStep(scalars);
  }
  return w;
}

TEST(OptimizerTest, PiecesOfAVariableEndAsTheWholeDoesBitForBit) {
  for (const OptimizerPtr& optimizer : AllOptimizers()) {
    EXPECT_EQ(Train(*optimizer, {0, 3001}), Train(*optimizer, {0, 7, 1031, 1032, 3001}))
        << optimizer->name();
  }
}

TEST(OptimizerTest, OptionsOutOfRangeAreRefusedByName) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float inf = std::numeric_limits<float>::infinity();
  const std::map<std::string, absl::Status> refused = {
      {"momentum: momentum", Momentum({.momentum = nan}).status()},
      {"adagrad: initial_accumulator_value", Adagrad({.initial_accumulator_value = 0}).status()},
      {"adadelta: rho", Adadelta({.rho = 1}).status()},
      {"adadelta: epsilon", Adadelta({.epsilon = -1}).status()},
      {"adam: beta1", Adam({.beta1 = 1}).status()},
      {"adam: beta2", Adam({.beta2 = 1.5f}).status()},
      {"adam: epsilon", Adam({.epsilon = inf}).status()},
      {"ftrl: learning_rate_power", Ftrl({.learning_rate_power = 0.5f}).status()},
      {"ftrl: l1", Ftrl({.l1 = -0.1f}).status()},
      {"ftrl: l2 ", Ftrl({.l2 = -0.1f}).status()},
      {"ftrl: l2_shrinkage", Ftrl({.l2_shrinkage = nan}).status()},
      {"rmsprop: decay", RmsProp({.decay = -0.1f}).status()},
      {"rmsprop: momentum", RmsProp({.momentum = 2}).status()},
      {"rmsprop: epsilon", RmsProp({.epsilon = 0}).status()},
  };
  for (const auto& [what, status] : refused) {
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << what;
    EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr(what));
    EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr("expected a number in"));
  }
}

}  // namespace
}  // namespace zood::train
