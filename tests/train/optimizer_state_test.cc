#include "train/math/optimizer_state.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <utility>

namespace zood::train {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// An optimizer that zood does not have: the sign of the gradient, a rate that falls with a scalar
// of its own, and a slot that counts how often the sign was positive.
class SignOptimizer final : public Optimizer {
 public:
  std::string name() const override { return "sign"; }
  std::vector<StateSpec> slots() const override { return {{"Positive", 0}}; }
  std::vector<StateSpec> scalars() const override { return {{"sign_rate", 1}}; }
  void Apply(const Update& update) const override {
    for (std::size_t i = 0; i < update.variable.size(); ++i) {
      const bool positive = update.gradient[i] > 0;
      update.slots[0][i] += positive ? 1.0f : 0.0f;
      update.variable[i] -= update.learning_rate * update.scalars[0] * (positive ? 1.0f : -1.0f);
    }
  }
  void FinishStep(std::span<float> scalars) const override { scalars[0] *= 0.5f; }
};

OptimizerState MakeState(OptimizerPtr optimizer) {
  return *OptimizerState::Create(std::move(optimizer), {{"a/weights", {2, 1}}, {"b", {}}});
}

TEST(OptimizerStateTest, TrainsWithAnOptimizerOfItsCallersOwn) {
  OptimizerState state = MakeState(std::make_shared<SignOptimizer>());
  std::vector<float> w = {0, 0};
  for (std::int64_t step = 0; step < 2; ++step) {
    ASSERT_TRUE(state.Apply("a/weights", step, 1, std::vector<float>{3, -4}, w).ok());
    state.FinishStep();
  }
  EXPECT_THAT(w, ElementsAre(-1.5f, 1.5f));
  const TensorMap saved = *state.Save();
  EXPECT_THAT(saved.at("a/weights/Positive").values<float>(), ElementsAre(2, 0));
  EXPECT_EQ(saved.at("a/weights/Positive").shape(), Shape({2, 1}));
  EXPECT_THAT(saved.at("sign_rate").values<float>(), ElementsAre(0.25f));
  EXPECT_EQ(saved.size(), 3u);
}

// However a variable is cut into pieces, every bit is the same.
TEST(OptimizerStateTest, UpdatesAVariableInPieces) {
  constexpr std::size_t kCount = 1000;
  const OptimizerPtr optimizers[] = {Sgd(),
                                     *Momentum({.nesterov = true}),
                                     *Adagrad({}),
                                     *Adadelta({}),
                                     *Adam({}),
                                     *Ftrl({.l1 = 0.01f}),
                                     *RmsProp({.momentum = 0.9f, .centered = true})};
  std::vector<float> gradient(kCount);
  for (std::size_t i = 0; i < kCount; ++i) {
    gradient[i] = static_cast<float>(i * 7919 % 1009) / 1009 - 0.5f;
  }
  for (const OptimizerPtr& optimizer : optimizers) {
    SCOPED_TRACE(optimizer->name());
    const auto make = [&] { return *OptimizerState::Create(optimizer, {{"w", {kCount}}}); };
    OptimizerState whole = make(), parts = make();
    std::vector<float> a(kCount, 0.3f), b = a;
    for (std::int64_t step = 0; step < 3; ++step) {
      ASSERT_TRUE(whole.Apply("w", step, 0.1f, gradient, a).ok());
      for (const auto& [first, count] :
           {std::pair<std::size_t, std::size_t>{501, 499}, {0, 1}, {1, 7}, {8, 493}}) {
        ASSERT_TRUE(parts
                        .ApplyPiece("w", step, 0.1f, first,
                                    std::span(gradient).subspan(first, count),
                                    std::span(b).subspan(first, count))
                        .ok());
      }
      whole.FinishStep();
      parts.FinishStep();
    }
    EXPECT_EQ(a, b);
    const TensorMap whole_state = *whole.Save(), parts_state = *parts.Save();
    for (const auto& [name, tensor] : whole_state) {
      EXPECT_TRUE(std::ranges::equal(tensor.bytes(), parts_state.at(name).bytes())) << name;
    }
    const absl::Status beyond =
        parts.ApplyPiece("w", 3, 0.1f, 999, std::vector<float>(2), std::span(b).first(2));
    EXPECT_THAT(beyond.ToString(), HasSubstr("1000 elements"));
  }
}

TEST(OptimizerStateTest, ARestoredStateContinuesAsTheFirstWould) {
  const std::vector<float> g = {0.5f, -1};
  std::vector<float> w = {1, 2};
  OptimizerState first = MakeState(*Adam({}));
  ASSERT_TRUE(first.Apply("a/weights", 0, 0.1f, g, w).ok());
  first.FinishStep();

  TensorMap saved = *first.Save();
  saved["other"] = *Tensor::FromVector<float>({1}, {7});
  OptimizerState second = MakeState(*Adam({}));
  ASSERT_TRUE(second.Restore(saved).ok());
  std::vector<float> again = w;
  ASSERT_TRUE(first.Apply("a/weights", 1, 0.1f, g, w).ok());
  ASSERT_TRUE(second.Apply("a/weights", 1, 0.1f, g, again).ok());
  EXPECT_EQ(w, again);
}

TEST(OptimizerStateTest, ARefusedRestoreChangesNothing) {
  OptimizerState state = MakeState(*Momentum({}));
  TensorMap tensors = {{"a/weights/Momentum", *Tensor::FromVector<float>({2, 1}, {5, 6})}};
  absl::Status status = state.Restore(tensors);
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr("'b/Momentum' is missing"));

  tensors["b/Momentum"] = *Tensor::FromVector<float>({1}, {1});
  status = state.Restore(tensors);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("'b/Momentum' has shape [1], expected []"));
  EXPECT_THAT(state.Save()->at("a/weights/Momentum").values<float>(), ElementsAre(0, 0));
}

TEST(OptimizerStateTest, RefusesWhatDoesNotFit) {
  EXPECT_EQ(OptimizerState::Create(nullptr, {}).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(OptimizerState::Create(Sgd(), {{"w", {-1, 3}}}).status().code(),
            absl::StatusCode::kInvalidArgument);
  OptimizerState state = MakeState(Sgd());
  std::vector<float> w = {1, 2};
  EXPECT_EQ(state.Apply("c", 0, 1, w, w).code(), absl::StatusCode::kNotFound);
  const absl::Status size = state.Apply("a/weights", 0, 1, std::vector<float>{1}, w);
  EXPECT_EQ(size.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(size.message()), HasSubstr("'a/weights' has 2 elements"));
}

// Two slots of one name: the second would overwrite the first in a checkpoint.
class ClashingOptimizer final : public Optimizer {
 public:
  std::string name() const override { return "clashing"; }
  std::vector<StateSpec> slots() const override { return {{"S", 0}, {"S", 1}}; }
  void Apply(const Update&) const override {}
};

TEST(OptimizerStateTest, RefusesStateThatSharesAName) {
  const absl::Status status =
      OptimizerState::Create(std::make_shared<ClashingOptimizer>(), {{"w", {1}}}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("two values under the name 'w/S'"));
}

}  // namespace
}  // namespace zood::train
