// Every operation on inputs small enough to compute by hand.
#include "tests/numerics/reference/reference_engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "graph/net.h"
#include "tests/support/status_testing.h"

namespace zood::reference {
namespace {

using graph::kSame;
using graph::kValid;
using graph::Net;
using graph::Value;
using ::testing::DoubleNear;
using ::testing::Pointwise;

constexpr double kTolerance = 1e-7;  // what float32 constants such as 0.1f allow

MATCHER_P(Elements, expected, "") {
  return ::testing::ExplainMatchResult(Pointwise(DoubleNear(kTolerance), expected), arg,
                                       result_listener);
}
std::vector<double> List(std::initializer_list<double> values) { return values; }

// A network under test, its weights by name, and its answer for a batch.
class Case {
 public:
  Case(int height, int width, int channels)
      : net({.height = height, .width = width, .channels = channels}) {}

  void Set(const std::string& name, std::vector<float> values) {
    values_[name] = std::move(values);
  }

  std::vector<double> Run(Value output, const std::vector<float>& images, int batch = 1) {
    const auto finished = net.Finish(output);
    if (!finished.ok()) {
      ADD_FAILURE() << finished.status();
      return {};
    }
    TensorMap weights;
    for (const graph::Variable& variable : finished->variables()) {
      auto tensor = Tensor::FromVector(variable.shape, values_[variable.name]);
      EXPECT_TRUE(tensor.ok()) << variable.name << ": " << tensor.status();
      if (tensor.ok()) weights[variable.name] = *std::move(tensor);
    }
    const graph::NodeId logits = finished->logits();
    auto results = Evaluate(*finished, weights, images, batch, {&logits, 1});
    EXPECT_TRUE(results.ok()) << results.status();
    return results.ok() ? results->at(logits) : std::vector<double>{};
  }

  Net net;

 private:
  std::map<std::string, std::vector<float>> values_;
};

const graph::Conv2dArgs kLinear = {.activation = nullptr, .scope = "c"};

std::vector<float> Counting(int n) {
  std::vector<float> values(static_cast<std::size_t>(n));
  for (int i = 0; i < n; ++i) values[static_cast<std::size_t>(i)] = static_cast<float>(i + 1);
  return values;
}

TEST(ReferenceConv, SamePaddingPutsTheOddColumnAtTheEnd) {
  // 1x4, kernel 1x2, stride 1: total padding 1, none before and one after.
  Case c(1, 4, 1);
  c.Set("c/weights", {10, 1});
  c.Set("c/biases", {0.5});
  EXPECT_THAT(c.Run(c.net.Conv2d(c.net.input(), 1, {1, 2}, kLinear), {1, 2, 3, 4}),
              Elements(List({12.5, 23.5, 34.5, 40.5})));
}

TEST(ReferenceConv, StrideAndSamePaddingOfA3x3Kernel) {
  // 4x4, 3x3 of ones, stride 2: padding 0 before and 1 after.
  Case c(4, 4, 1);
  c.Set("c/weights", std::vector<float>(9, 1));
  c.Set("c/biases", {0});
  auto args = kLinear;
  args.stride = {2, 2};
  EXPECT_THAT(
      c.Run(c.net.Conv2d(c.net.input(), 1, {3, 3}, args), Counting(16)),
      Elements(List({54, 7 + 8 + 11 + 12 + 3 + 4, 9 + 10 + 11 + 13 + 14 + 15, 11 + 12 + 15 + 16})));
}

TEST(ReferenceConv, KernelIsNotFlippedAndChannelsAreInnermost) {
  // One pixel of two channels to three: w[in][out].
  Case c(1, 1, 2);
  c.Set("c/weights", {1, 2, 3, 10, 20, 30});
  c.Set("c/biases", {0, 0, 1});
  EXPECT_THAT(c.Run(c.net.Conv2d(c.net.input(), 3, {1, 1}, kLinear), {1, 2}),
              Elements(List({21, 42, 64})));
}

TEST(ReferenceConv, DilationSkipsColumns) {
  Case c(1, 5, 1);
  c.Set("c/weights", {1, 100});
  c.Set("c/biases", {0});
  auto args = kLinear;
  args.rate = {1, 3};
  args.padding = kValid;
  EXPECT_THAT(c.Run(c.net.Conv2d(c.net.input(), 1, {1, 2}, args), {1, 2, 3, 4, 5}),
              Elements(List({401, 502})));
}

TEST(ReferenceConv, GroupsSeeOnlyTheirOwnChannels) {
  // Four channels to four in two groups: w [1,1,2,4].
  Case c(1, 1, 4);
  c.Set("c/weights", {1, 2, 3, 4, 10, 20, 30, 40});
  c.Set("c/biases", {0, 0, 0, 0});
  auto args = kLinear;
  args.groups = 2;
  EXPECT_THAT(c.Run(c.net.Conv2d(c.net.input(), 4, {1, 1}, args), {1, 2, 3, 4}),
              Elements(List({1 + 20, 2 + 40, 9 + 120, 12 + 160})));
}

TEST(ReferenceConv, DepthwiseMultiplierKeepsAChannelsOutputsTogether) {
  // w [1,2,2,2]: output channel c * 2 + m.
  Case c(1, 2, 2);
  c.Set("c/depthwise_weights", {1, 2, 3, 4, 10, 20, 30, 40});
  c.Set("c/biases", {0, 0, 0, 0});
  const Value y = c.net.SeparableConv2d(c.net.input(), 0, {1, 2}, 2,
                                        {.padding = kValid, .activation = nullptr, .scope = "c"});
  EXPECT_THAT(c.Run(y, {1, 2, 3, 4}), Elements(List({31, 62, 6 + 120, 8 + 160})));
}

TEST(ReferenceConv, EachPaddingIsItsOwnAndBatchesDoNotMix) {
  Case c(1, 1, 1);
  c.Set("c/weights", {1, 2, 3, 4, 5, 6});  // 2x3
  c.Set("c/biases", {0});
  auto args = kLinear;
  args.padding = graph::Padding2d{.top = 1, .bottom = 0, .left = 0, .right = 3};
  EXPECT_THAT(c.Run(c.net.Conv2d(c.net.input(), 1, {2, 3}, args), {1, 10}, 2),
              Elements(List({4, 0, 40, 0})));
}

TEST(ReferenceFullyConnected, ManyFeatures) {
  // More than one block of features, and a batch of two.
  constexpr int kFeatures = 2100;
  Case c(1, 1, kFeatures);
  std::vector<float> weights;
  for (int i = 0; i < kFeatures; ++i) weights.insert(weights.end(), {1, i == 2099 ? 1.0f : 0.0f});
  c.Set("f/weights", weights);
  c.Set("f/biases", {0, 0.25});
  std::vector<float> images = Counting(kFeatures);
  images.resize(2 * kFeatures, -1);
  const Value y =
      c.net.FullyConnected(c.net.Flatten(c.net.input()), 2, {.activation = nullptr, .scope = "f"});
  EXPECT_THAT(c.Run(y, images, 2), Elements(List({2206050, 2100.25, -2100, -0.75})));
}

TEST(ReferenceBatchNorm, WithAndWithoutGamma) {
  for (const bool scale : {false, true}) {
    Case c(1, 2, 2);
    c.Set("n/moving_mean", {1, 2});
    c.Set("n/moving_variance", {3.5, 15.5});
    c.Set("n/beta", {10, 20});
    c.Set("n/gamma", {3, 5});
    const Value y = c.net.BatchNorm(c.net.input(), {.epsilon = 0.5f, .scale = scale, .scope = "n"});
    const double g0 = scale ? 3 : 1, g1 = scale ? 5 : 1;
    EXPECT_THAT(c.Run(y, {1, 2, 3, 6}), Elements(List({10, 20, 10 + g0, 20 + g1})));
  }
}

TEST(ReferenceScale, WithAndWithoutBeta) {
  for (const bool beta : {false, true}) {
    Case c(1, 2, 2);
    c.Set("s/gamma", {2, -1});
    c.Set("s/beta", {10, 20});
    const double b0 = beta ? 10 : 0, b1 = beta ? 20 : 0;
    EXPECT_THAT(c.Run(c.net.Scale(c.net.input(), beta, "s"), {1, 2, 3, 4}),
                Elements(List({2 + b0, -2 + b1, 6 + b0, -4 + b1})));
  }
}

TEST(ReferencePrelu, ASlopeForEachChannel) {
  Case c(1, 2, 2);
  c.Set("p/slope", {0.5, -2});
  EXPECT_THAT(c.Run(c.net.Prelu(c.net.input(), graph::Zeros(), "p"), {-2, -2, 3, 4}),
              Elements(List({-1, 4, 3, 4})));
}

TEST(ReferenceActivation, Kernels) {
  const auto run = [](const graph::ActivationPtr& activation) {
    Case c(1, 3, 1);
    return c.Run(c.net.Apply(c.net.input(), activation), {-2, 0.5, 8});
  };
  EXPECT_THAT(run(graph::Relu()), Elements(List({0, 0.5, 8})));
  EXPECT_THAT(run(graph::Relu6()), Elements(List({0, 0.5, 6})));
  EXPECT_THAT(run(graph::LeakyRelu(0.25f)), Elements(List({-0.5, 0.5, 8})));
  EXPECT_THAT(run(graph::Elu()), Elements(List({std::exp(-2.0) - 1, 0.5, 8})));
  EXPECT_THAT(run(graph::Tanh()),
              Elements(List({std::tanh(-2.0), std::tanh(0.5), std::tanh(8.0)})));
  EXPECT_THAT(run(graph::Sigmoid()),
              Elements(List(
                  {1 / (1 + std::exp(2.0)), 1 / (1 + std::exp(-0.5)), 1 / (1 + std::exp(-8.0))})));
  EXPECT_THAT(run(graph::Linear(3, -1)), Elements(List({-7, 0.5, 23})));
}

class Square : public graph::Activation {
 public:
  std::string name() const override { return "square"; }
  void Forward(std::span<const float> x, std::span<float> y) const override {
    for (std::size_t i = 0; i < x.size(); ++i) y[i] = x[i] * x[i];
  }
  void Backward(std::span<const float> x, std::span<const float>, std::span<const float> dy,
                std::span<float> dx) const override {
    for (std::size_t i = 0; i < x.size(); ++i) dx[i] = 2 * x[i] * dy[i];
  }
};

TEST(ReferenceActivation, AUsersOwn) {
  Case c(1, 3, 1);
  EXPECT_THAT(c.Run(c.net.Apply(c.net.input(), std::make_shared<Square>()), {-2, 0.5, 8}),
              Elements(List({4, 0.25, 64})));
}

TEST(ReferencePool, MaxIgnoresPadding) {
  Case c(2, 2, 1);
  const Value y = c.net.MaxPool2d(c.net.input(), {2, 2}, {.stride = {{1, 1}}, .padding = kSame});
  EXPECT_THAT(c.Run(y, {-1, -2, -3, -4}), Elements(List({-1, -2, -3, -4})));
}

TEST(ReferencePool, AverageOfWhatExists) {
  Case c(2, 2, 1);
  const Value y = c.net.AvgPool2d(c.net.input(), {2, 2}, {.stride = {{1, 1}}, .padding = kSame});
  EXPECT_THAT(c.Run(y, {1, 2, 3, 6}), Elements(List({3, 4, 4.5, 6})));
}

TEST(ReferencePool, CaffesAverageCountsPaddingButNotOverhang) {
  // Caffe on 4x4: kernel 3, stride 2, pad 1 has ceil((4 + 2 - 3) / 2) + 1 = 3 windows an axis. The
  // last starts at row 3 and ends at row 6, of which rows 3 and 4 are in the padded map.
  Case c(4, 4, 1);
  const Value y =
      c.net.AvgPool2d(c.net.input(), {3, 3},
                      {.stride = {{2, 2}},
                       .padding = graph::Padding2d{.top = 1, .bottom = 2, .left = 1, .right = 2},
                       .divisor = graph::PoolOp::Divisor::kPadded,
                       .counted_bottom = 1,
                       .counted_right = 1});
  ASSERT_EQ(y.height(), 3);
  EXPECT_THAT(c.Run(y, std::vector<float>(16, 36)),
              Elements(List({16, 24, 12, 24, 36, 18, 12, 18, 9})));
}

TEST(ReferencePool, ChannelsAndImagesStayApart) {
  Case c(1, 2, 2);
  EXPECT_THAT(c.Run(c.net.GlobalAvgPool(c.net.input()), {1, 10, 3, 30, -1, -10, -3, -30}, 2),
              Elements(List({2, 20, -2, -20})));
}

TEST(ReferenceLrn, AlphaIsNotDividedByTheWindow) {
  Case c(1, 1, 4);
  const Value y = c.net.Lrn(c.net.input(), {.radius = 1, .bias = 2, .alpha = 0.5f, .beta = 0.5f});
  EXPECT_THAT(c.Run(y, {1, 2, 3, 4}),
              Elements(List({1 / std::sqrt(2 + 0.5 * 5), 2 / std::sqrt(2 + 0.5 * 14),
                             3 / std::sqrt(2 + 0.5 * 29), 4 / std::sqrt(2 + 0.5 * 25)})));
}

TEST(ReferenceEltwise, SumProductMax) {
  const auto run = [](const graph::EltwiseOp& op) {
    Case c(1, 2, 1);
    const Value x = c.net.input();
    const Value y = c.net.Apply(x, graph::Linear(1, 3));  // x + 3
    const Value z = c.net.Apply(x, graph::Linear(-1, 0));
    return c.Run(c.net.Eltwise(op, {x, y, z}), {-2, 5});
  };
  using Kind = graph::EltwiseOp::Kind;
  EXPECT_THAT(run({.kind = Kind::kSum}), Elements(List({1, 8})));
  EXPECT_THAT(run({.kind = Kind::kSum, .coefficients = {2, -1, 0.5f}}),
              Elements(List({-4 - 1 + 1, 10 - 8 - 2.5})));
  EXPECT_THAT(run({.kind = Kind::kProduct}), Elements(List({-4, -200})));
  EXPECT_THAT(run({.kind = Kind::kMax}), Elements(List({2, 8})));
}

TEST(ReferenceConcat, AlongTheChannels) {
  Case c(1, 2, 2);
  const Value x = c.net.input();
  EXPECT_THAT(c.Run(c.net.Concat({x, c.net.PadChannels(x, 1, 2), x}), {1, 2, 3, 4}),
              Elements(List({1, 2, 0, 1, 2, 0, 0, 1, 2, 3, 4, 0, 3, 4, 0, 0, 3, 4})));
}

TEST(ReferenceSoftmax, OfLargeNumbers) {
  Case c(1, 1, 2);
  const double e = std::exp(1.0);
  EXPECT_THAT(c.Run(c.net.Softmax(c.net.Dropout(c.net.Flatten(c.net.input()))), {1000, 1001}),
              Elements(List({1 / (1 + e), e / (1 + e)})));
}

TEST(ReferenceEngine, DeliversEveryOutputAskedFor) {
  Net net({.height = 1, .width = 2, .channels = 1});
  const Value a = net.Apply(net.input(), graph::Linear(2, 0));
  const Value b = net.Add(a, net.input(), 10);
  const auto graph = net.Finish(net.Apply(b, graph::Linear(1, 1)));
  ASSERT_TRUE(graph.ok());
  const std::vector<float> images = {1, 2};
  const std::vector<graph::NodeId> outputs = {3, 0, 1, 1};
  ASSERT_OK_AND_ASSIGN(const auto results, Evaluate(*graph, {}, images, 1, outputs));
  EXPECT_EQ(results.size(), 3u);
  EXPECT_THAT(results.at(0), Elements(List({1, 2})));
  EXPECT_THAT(results.at(1), Elements(List({2, 4})));
  EXPECT_THAT(results.at(3), Elements(List({13, 25})));
}

TEST(ReferenceEngine, RefusesWhatDoesNotFit) {
  Net net({.height = 1, .width = 2, .channels = 1});
  const auto graph = net.Finish(net.Scale(net.input(), false, "s"));
  ASSERT_TRUE(graph.ok());
  const std::vector<float> images = {1, 2};
  const std::vector<graph::NodeId> outputs = {1};
  const auto code = [&](const TensorMap& weights, int batch, std::span<const graph::NodeId> ids) {
    return Evaluate(*graph, weights, images, batch, ids).status().code();
  };
  const TensorMap weights = {{"s/gamma", *Tensor::FromVector<float>({1}, {2})}};
  EXPECT_EQ(code(weights, 1, outputs), absl::StatusCode::kOk);
  EXPECT_EQ(code({}, 1, outputs), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code(weights, 2, outputs), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code(weights, 1, std::vector<graph::NodeId>{2}), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace zood::reference
