#include "train/math/loss.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "graph/function.h"
#include "tests/support/oracle_fill.h"
#include "tests/train/tensorflow_results.h"

namespace zood::train {
namespace {

using testing::Floats;
using testing::Json;
using testing::TensorFlowResults;

TEST(LossTest, SoftmaxCrossEntropyIsTensorFlows) {
  const Json& results = TensorFlowResults()["losses"];
  std::vector<float> logits;
  for (const Json& row : results["logits"]) {
    for (const float value : Floats(row)) logits.push_back(value);
  }
  const auto labels = results["labels"].get<std::vector<std::int32_t>>();
  std::vector<float> one_hot(logits.size());
  for (std::size_t i = 0; i < labels.size(); ++i) {
    one_hot[i * 7 + static_cast<std::size_t>(labels[i])] = 1;
  }
  for (const auto& [smoothing, name] : {std::pair(0.0f, "softmax_cross_entropy label_smoothing 0"),
                                        {0.1f, "softmax_cross_entropy label_smoothing 0.1"}}) {
    const Json& expected = results[name];
    std::vector<float> gradient(logits.size()), from_one_hot(logits.size()), dlogits;
    for (const Json& row : expected["dlogits"]) {
      for (const float value : Floats(row)) dlogits.push_back(value);
    }
    const LossPtr loss = *SoftmaxCrossEntropy(smoothing);
    const double by_class =
        *loss->Compute({.examples = 4, .classes = 7, .logits = logits, .labels = labels}, gradient);
    EXPECT_NEAR(by_class, expected["loss"].get<double>(), 1e-6 * by_class) << name;
    testing::ExpectNear(gradient, dlogits, name);
    EXPECT_EQ(by_class,
              *loss->Compute({.examples = 4, .classes = 7, .logits = logits, .targets = one_hot},
                             from_one_hot));
    EXPECT_EQ(gradient, from_one_hot);
  }
}

TEST(LossTest, RegularizersAreTensorFlows) {
  const Json& results = TensorFlowResults()["losses"];
  std::vector<float> w(30);
  const std::uint64_t seed = zood::testing::Fnv1a64("optim/l2");
  for (std::size_t i = 0; i < w.size(); ++i) {
    w[i] = static_cast<float>(static_cast<std::int64_t>(zood::testing::SplitMix(seed, i) >> 40) -
                              (1 << 23)) *
           0x1p-23f;
  }
  const double l2 = results["l2_regularizer 0.00004"], l1 = results["l1_regularizer 0.00004"];
  EXPECT_NEAR(graph::L2(0.00004f)->Loss(w), l2, 1e-6 * l2);
  EXPECT_NEAR(graph::L1(0.00004f)->Loss(w), l1, 1e-6 * l1);
}

// A loss that zood does not have: Huber's, the mean over examples of the sum over classes.
class HuberLoss final : public Loss {
 public:
  std::string name() const override { return "huber"; }

 private:
  double Evaluate(const LossInput& input, std::span<float> gradient) const override {
    const auto examples = static_cast<double>(input.examples);
    const auto classes = static_cast<std::size_t>(input.classes);
    double sum = 0;
    for (std::size_t i = 0; i < gradient.size(); ++i) {
      const double error = input.logits[i] - input.Target(i / classes, i % classes);
      const bool near = std::abs(error) <= 1;
      sum += near ? 0.5 * error * error : std::abs(error) - 0.5;
      gradient[i] = static_cast<float>((near ? error : std::copysign(1, error)) / examples);
    }
    return sum / examples;
  }
};

std::vector<LossPtr> AllLosses() {
  return {*SoftmaxCrossEntropy(),
          *SoftmaxCrossEntropy(0.1f),
          *SigmoidCrossEntropy(),
          *SigmoidCrossEntropy(0.2f),
          SquaredError(),
          AbsoluteError(),
          Hinge(),
          std::make_shared<HuberLoss>()};
}

// Logits are multiples of 1/64 plus 1/128, away from every corner of a loss, and the difference is
// a power of two: all of it exact in float32. Quotients are taken in double, of second order in
// 2^-10.
TEST(LossTest, GradientsAreCentralDifferencesInDouble) {
  constexpr float kStep = 0x1p-10f;
  std::vector<float> logits(3 * 5), gradient(logits.size()), ignored(logits.size());
  for (std::size_t i = 0; i < logits.size(); ++i) {
    logits[i] = std::round(64 * 3 * std::sin(1.7f * static_cast<float>(i))) / 64 + 0x1p-7f;
  }
  const std::vector<std::int32_t> labels = {4, 0, 2};
  const std::vector<float> targets = {0.5, 0.25, 0.25, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0.5, 0.5};
  for (const LossPtr& loss : AllLosses()) {
    for (const bool dense : {false, true}) {
      LossInput input = {.examples = 3, .classes = 5, .logits = logits};
      if (dense) {
        // Hinge's targets are 0 and 1.
        if (loss->name() == "hinge") continue;
        input.targets = targets;
      } else {
        input.labels = labels;
      }
      ASSERT_TRUE(loss->Compute(input, gradient).ok());
      for (std::size_t i = 0; i < logits.size(); ++i) {
        const float kept = logits[i];
        logits[i] = kept + kStep;
        const double above = *loss->Compute(input, ignored);
        logits[i] = kept - kStep;
        const double below = *loss->Compute(input, ignored);
        logits[i] = kept;
        EXPECT_NEAR(gradient[i], (above - below) / (2.0 * kStep), 1e-6)
            << loss->name() << (dense ? ", targets" : ", labels") << ", logit " << i;
      }
    }
  }
}

TEST(LossTest, MeansAreTensorFlowsDefaultReduction) {
  const std::vector<float> logits = {2, -1, 0.5f, 3}, targets = {1, 0, 1, 0};
  std::vector<float> gradient(4);
  const LossInput input = {.examples = 2, .classes = 2, .logits = logits, .targets = targets};
  EXPECT_DOUBLE_EQ(*SquaredError()->Compute(input, gradient), (1 + 1 + 0.25 + 9) / 4);
  EXPECT_DOUBLE_EQ(*AbsoluteError()->Compute(input, gradient), (1 + 1 + 0.5 + 3) / 4);
  EXPECT_DOUBLE_EQ(*Hinge()->Compute(input, gradient), (0 + 0 + 0.5 + 4) / 4);
  EXPECT_DOUBLE_EQ(*(*SigmoidCrossEntropy())->Compute(input, gradient),
                   (std::log1p(std::exp(-2.0)) + std::log1p(std::exp(-1.0)) +
                    std::log1p(std::exp(-0.5)) + std::log1p(std::exp(3.0))) /
                       4);
  // Smoothed to 0.9 and 0.1, the loss grows by 0.1 * (x for a target of 1, -x for one of 0).
  const double sharp = *(*SigmoidCrossEntropy())->Compute(input, gradient);
  EXPECT_NEAR(*(*SigmoidCrossEntropy(0.2f))->Compute(input, gradient),
              sharp + 0.1 * (2 + 1 + 0.5 - 3) / 4, 1e-7);
}

TEST(LossTest, LargeLogitsOverflowNothingAndNanIsNotLost) {
  std::vector<float> logits = {3e38f, -3e38f, 0, 1000}, gradient(4);
  const std::vector<std::int32_t> labels = {1, 0};
  const LossInput input = {.examples = 2, .classes = 2, .logits = logits, .labels = labels};
  for (const LossPtr& loss : {*SoftmaxCrossEntropy(), *SigmoidCrossEntropy()}) {
    EXPECT_TRUE(std::isfinite(*loss->Compute(input, gradient))) << loss->name();
    for (const float value : gradient) EXPECT_TRUE(std::isfinite(value)) << loss->name();
  }
  logits[2] = std::numeric_limits<float>::quiet_NaN();
  for (const LossPtr& loss : AllLosses()) {
    EXPECT_TRUE(std::isnan(*loss->Compute(input, gradient))) << loss->name();
  }
}

TEST(LossTest, RefusesWhatDoesNotFit) {
  const std::vector<float> logits(6);
  std::vector<float> gradient(6), shorter(5);
  const std::vector<std::int32_t> labels = {0, 2}, high = {0, 3}, negative = {-1, 0}, one = {0};
  const LossPtr loss = *SoftmaxCrossEntropy();
  const LossInput good = {.examples = 2, .classes = 3, .logits = logits, .labels = labels};
  ASSERT_TRUE(loss->Compute(good, gradient).ok());
  const auto message = [&](auto change, std::span<float> into) {
    LossInput input = good;
    change(input);
    const absl::Status status = loss->Compute(input, into).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    return std::string(status.message());
  };
  using ::testing::HasSubstr;
  const auto nothing = [](LossInput&) {};
  EXPECT_THAT(message(nothing, shorter), HasSubstr("softmax_cross_entropy: 6 logits"));
  EXPECT_THAT(message([&](LossInput& i) { i.labels = high; }, gradient),
              HasSubstr("label 3 of example 1"));
  EXPECT_THAT(message([&](LossInput& i) { i.labels = negative; }, gradient),
              HasSubstr("label -1 of example 0"));
  EXPECT_THAT(message([&](LossInput& i) { i.labels = one; }, gradient), HasSubstr("labels"));
  EXPECT_THAT(message([&](LossInput& i) { i.labels = {}; }, gradient), HasSubstr("none"));
  EXPECT_THAT(message([&](LossInput& i) { i.targets = logits; }, gradient), HasSubstr("both"));
  EXPECT_THAT(message([&](LossInput& i) { i.examples = 0; }, gradient), HasSubstr("0 examples"));
  EXPECT_THAT(
      message([&](LossInput& i) { i.examples = std::int64_t{1} << 62, i.classes = 4; }, gradient),
      HasSubstr("cannot have 6 logits"));
  EXPECT_FALSE(SoftmaxCrossEntropy(1.5f).ok());
  EXPECT_FALSE(SigmoidCrossEntropy(-0.5f).ok());
}

}  // namespace
}  // namespace zood::train
