#include "graph/net.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "tests/support/status_testing.h"

namespace zood::graph {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::int64_t kAny = Shape::kAnyBatch;

std::vector<std::string> VariableNames(const Graph& graph) {
  std::vector<std::string> names;
  for (const Variable& variable : graph.variables()) names.push_back(variable.name);
  return names;
}

std::vector<std::string> EndPointNames(const Graph& graph) {
  std::vector<std::string> names;
  for (const auto& [name, id] : graph.end_points()) names.push_back(name);
  return names;
}

template <typename OpType>
std::vector<OpType> OpsOf(const Graph& graph) {
  std::vector<OpType> ops;
  for (const Node& node : graph.nodes()) {
    if (const auto* op = std::get_if<OpType>(&node.op)) ops.push_back(*op);
  }
  return ops;
}

std::string ErrorOf(const absl::StatusOr<Graph>& graph) {
  EXPECT_EQ(graph.status().code(), absl::StatusCode::kInvalidArgument) << graph.status();
  return std::string(graph.status().message());
}

// --- Names.

TEST(NetTest, ScopesNestAndEnd) {
  Net net({.height = 8, .width = 8});
  EXPECT_EQ(net.scope(), "");
  {
    const auto outer = net.Scope("a");
    {
      const auto inner = net.Scope("b/c");
      EXPECT_EQ(net.scope(), "a/b/c");
    }
    EXPECT_EQ(net.scope(), "a");
    net.Conv2d(net.input(), 1, {1, 1}, {.scope = "conv"});
    EXPECT_EQ(net.scope(), "a");
  }
  EXPECT_EQ(net.scope(), "");
  ASSERT_OK_AND_ASSIGN(const auto graph, net.Finish(net.input()));
  EXPECT_THAT(VariableNames(graph), ElementsAre("a/conv/weights", "a/conv/biases"));
}

TEST(NetTest, LayersWithoutScopeGetNamesOfTheirOwn) {
  Net net({.height = 8, .width = 8});
  const Conv2dArgs no_biases{.biases_initializer = nullptr};
  Value x = net.Conv2d(net.input(), 1, {1, 1}, no_biases);
  x = net.Conv2d(x, 1, {1, 1}, no_biases);
  {
    const auto scope = net.Scope("s");
    x = net.Conv2d(x, 1, {1, 1}, no_biases);  // counted by scope
    x = net.SeparableConv2d(x, 0, {3, 3}, 1, {.biases_initializer = nullptr});
    x = net.BatchNorm(x);
    x = net.BatchNorm(x, {.center = false});
  }
  x = net.FullyConnected(net.Flatten(x), 2, {.biases_initializer = nullptr});
  x = net.FullyConnected(x, 2, {.biases_initializer = nullptr});
  ASSERT_OK_AND_ASSIGN(const auto graph, net.Finish(x));
  EXPECT_THAT(VariableNames(graph),
              ElementsAre("Conv/weights", "Conv_1/weights", "s/Conv/weights",
                          "s/SeparableConv2d/depthwise_weights", "s/BatchNorm/beta",
                          "s/BatchNorm/moving_mean", "s/BatchNorm/moving_variance",
                          "s/BatchNorm_1/moving_mean", "s/BatchNorm_1/moving_variance",
                          "fully_connected/weights", "fully_connected_1/weights"));
}

TEST(NetTest, RepeatAndStackNameAsSlimDoes) {
  Net net({.height = 8, .width = 8});
  const auto vgg = net.Scope("vgg_16");
  Value x = net.Repeat(net.input(), 2, "conv1", [&net](Value v, const std::string& name) {
    return net.Conv2d(v, 4, {3, 3}, {.biases_initializer = nullptr, .scope = name});
  });
  x = net.Stack<int>(
      net.Flatten(x), "fc", {32, 64}, [&net](Value v, const int& width, const std::string& name) {
        return net.FullyConnected(v, width, {.biases_initializer = nullptr, .scope = name});
      });
  EXPECT_EQ(x.shape(), (Shape{kAny, 64}));
  x = net.Repeat(x, 0, "nothing", [](Value v, const std::string&) { return v; });
  ASSERT_OK_AND_ASSIGN(const auto graph, net.Finish(x));
  EXPECT_THAT(VariableNames(graph),
              ElementsAre("vgg_16/conv1/conv1_1/weights", "vgg_16/conv1/conv1_2/weights",
                          "vgg_16/fc/fc_1/weights", "vgg_16/fc/fc_2/weights"));
}

// --- Defaults.

TEST(NetTest, InnerDefaultsOverrideOuterOnesAndArgumentsBoth) {
  Net net({.height = 32, .width = 32});
  const auto outer = net.Defaults(Conv2dArgs{.stride = Size2d{2, 2}, .padding = kValid});
  Value x = net.input();
  {
    const auto inner = net.Defaults(Conv2dArgs{.padding = kSame});
    EXPECT_EQ(net.Conv2d(x, 1, {3, 3}).shape(), (Shape{kAny, 16, 16, 1}));
    EXPECT_EQ(net.Conv2d(x, 1, {3, 3}, {.stride = Size2d{1, 1}}).shape(), (Shape{kAny, 32, 32, 1}));
    EXPECT_EQ(net.Conv2d(x, 1, {3, 3}, {.padding = kValid}).shape(), (Shape{kAny, 15, 15, 1}));
  }
  EXPECT_EQ(net.Conv2d(x, 1, {3, 3}).shape(), (Shape{kAny, 15, 15, 1}));
  // Other kinds of layers have their own.
  EXPECT_EQ(net.SeparableConv2d(x, 0, {3, 3}, 1).shape(), (Shape{kAny, 32, 32, 3}));
  EXPECT_EQ(net.MaxPool2d(x, {2, 2}).shape(), (Shape{kAny, 16, 16, 3}));
  EXPECT_TRUE(net.Finish(x).ok());
}

TEST(NetTest, DefaultsOfAllKindsReachTheirLayers) {
  Net net({.height = 16, .width = 16});
  Value x = net.input();
  {
    const RegularizerPtr l2 = L2(1);
    const auto conv = net.Defaults(Conv2dArgs{.activation = nullptr,
                                              .weights_initializer = Constant(3),
                                              .weights_regularizer = l2,
                                              .biases_initializer = Constant(4),
                                              .biases_regularizer = l2});
    const auto separable = net.Defaults(SeparableConv2dArgs{.stride = Size2d{2, 2},
                                                            .activation = nullptr,
                                                            .normalizer = BatchNorm(),
                                                            .depthwise_regularizer = l2});
    const auto norm = net.Defaults(BatchNormArgs{.decay = 0.5f, .epsilon = 0.25f, .scale = true});
    const auto fc =
        net.Defaults(FullyConnectedArgs{.activation = Relu6(), .biases_initializer = nullptr});
    const auto pool = net.Defaults(Pool2dArgs{.stride = Size2d{1, 1}, .padding = kSame});
    x = net.Conv2d(x, 2, {3, 3}, {.scope = "c"});
    x = net.SeparableConv2d(x, 5, {3, 3}, 2, {.scope = "s"});
    EXPECT_EQ(x.shape(), (Shape{kAny, 8, 8, 5}));
    x = net.AvgPool2d(x, {3, 3});
    EXPECT_EQ(x.shape(), (Shape{kAny, 8, 8, 5}));
    x = net.FullyConnected(net.Flatten(x), 1, {.scope = "f"});
  }
  ASSERT_OK_AND_ASSIGN(const auto graph, net.Finish(x));
  EXPECT_THAT(VariableNames(graph),
              ElementsAre("c/weights", "c/biases", "s/depthwise_weights", "s/pointwise_weights",
                          "s/BatchNorm/beta", "s/BatchNorm/gamma", "s/BatchNorm/moving_mean",
                          "s/BatchNorm/moving_variance", "f/weights"));
  std::vector<bool> regularized;
  for (const Variable& variable : graph.variables()) {
    regularized.push_back(variable.regularizer != nullptr);
  }
  EXPECT_THAT(regularized, ElementsAre(true, true, true, false, false, false, false, false, false));
  EXPECT_EQ(graph.variable(0).initializer->name(), Constant(3)->name());
  EXPECT_EQ(graph.variable(1).initializer->name(), Constant(4)->name());
  const auto norms = OpsOf<BatchNormOp>(graph);
  ASSERT_EQ(norms.size(), 1u);
  EXPECT_EQ(norms[0].decay, 0.5f);
  EXPECT_EQ(norms[0].epsilon, 0.25f);
  const auto activations = OpsOf<ActivationOp>(graph);
  ASSERT_EQ(activations.size(), 1u);
  EXPECT_EQ(activations[0].function->name(), "relu6");
}

TEST(NetTest, WithoutDefaultsLayersAreSlims) {
  Net net({.height = 9, .width = 9});
  Value x = net.Conv2d(net.input(), 2, {3, 3}, {.scope = "c"});  // SAME, stride 1, relu, biases
  EXPECT_EQ(x.shape(), (Shape{kAny, 9, 9, 2}));
  x = net.MaxPool2d(x, {3, 3});  // VALID, stride 2
  EXPECT_EQ(x.shape(), (Shape{kAny, 4, 4, 2}));
  x = net.BatchNorm(x, {.scope = "n"});
  x = net.FullyConnected(net.Flatten(x), 3, {.scope = "f"});
  ASSERT_OK_AND_ASSIGN(const auto graph, net.Finish(x));
  EXPECT_THAT(VariableNames(graph), ElementsAre("c/weights", "c/biases", "n/beta", "n/moving_mean",
                                                "n/moving_variance", "f/weights", "f/biases"));
  EXPECT_EQ(OpsOf<ActivationOp>(graph).size(), 2u);
  EXPECT_EQ(graph.variable(0).initializer->name(), Xavier()->name());
  const BatchNormOp norm = OpsOf<BatchNormOp>(graph).front();
  EXPECT_EQ(norm.decay, 0.999f);
  EXPECT_EQ(norm.epsilon, 0.001f);
  EXPECT_FALSE(norm.gamma);
  EXPECT_FALSE(graph.variable(norm.moving_mean).trainable);
  EXPECT_TRUE(graph.variable(*norm.beta).trainable);
}

TEST(NetTest, ANormalizerTakesThePlaceOfBiases) {
  Net net({.height = 4, .width = 4});
  const Conv2dArgs normalized{.normalizer = BatchNorm({.activation = nullptr}), .scope = "c"};
  ASSERT_OK_AND_ASSIGN(const auto graph,
                       net.Finish(net.Conv2d(net.input(), 2, {1, 1}, normalized)));
  EXPECT_THAT(VariableNames(graph),
              ElementsAre("c/weights", "c/BatchNorm/beta", "c/BatchNorm/moving_mean",
                          "c/BatchNorm/moving_variance"));
  // Convolution, normalization, activation, in that order.
  ASSERT_EQ(graph.nodes().size(), 4u);
  EXPECT_STREQ(OpName(graph.node(1).op), "Conv");
  EXPECT_STREQ(OpName(graph.node(2).op), "BatchNorm");
  EXPECT_STREQ(OpName(graph.node(3).op), "Activation");
}

// --- Paddings. Expected values are tf.nn.conv2d's and tf.nn.max_pool2d's.

struct PaddingCase {
  Padding padding;
  int input;
  int kernel;
  int stride;
  int rate;
  int output;
  int before;
  int after;
};

constexpr PaddingCase kPaddings[] = {
    {kSame, 224, 3, 1, 1, 224, 1, 1},
    {kSame, 224, 3, 2, 1, 112, 0, 1},
    {kSame, 225, 3, 2, 1, 113, 1, 1},
    {kSame, 224, 7, 2, 1, 112, 2, 3},
    {kSame, 7, 2, 2, 1, 4, 0, 1},
    {kSame, 8, 2, 2, 1, 4, 0, 0},
    {kSame, 5, 1, 2, 1, 3, 0, 0},
    {kSame, 6, 1, 3, 1, 2, 0, 0},
    {kSame, 10, 2, 1, 1, 10, 0, 1},
    {kSame, 1, 3, 2, 1, 1, 1, 1},
    {kSame, 14, 3, 1, 2, 14, 2, 2},
    {kSame, 15, 3, 2, 2, 8, 2, 2},
    {kSame, 3, 7, 1, 1, 3, 3, 3},
    {kValid, 299, 3, 2, 1, 149, 0, 0},
    {kValid, 224, 11, 4, 1, 54, 0, 0},
    {kValid, 7, 7, 1, 1, 1, 0, 0},
    {kValid, 8, 2, 3, 1, 3, 0, 0},
    {kValid, 10, 3, 1, 3, 4, 0, 0},
    {kFixed, 224, 7, 2, 1, 112, 3, 3},
    {kFixed, 299, 7, 2, 1, 150, 3, 3},
    {kFixed, 56, 3, 2, 1, 28, 1, 1},
    {kFixed, 57, 2, 2, 1, 29, 0, 1},
    {kFixed, 28, 3, 2, 2, 14, 2, 2},
    {Padding2d{1, 0, 1, 0}, 5, 3, 1, 1, 4, 1, 0},
    {Padding2d{0, 2, 0, 2}, 6, 3, 2, 1, 3, 0, 2},
};

TEST(NetTest, PadsConvolutionsAsTensorFlow) {
  for (const PaddingCase& c : kPaddings) {
    SCOPED_TRACE(testing::Message()
                 << c.input << " " << c.kernel << " " << c.stride << " " << c.rate);
    // The rule along each axis, with a trivial one along the other.
    for (const bool vertical : {true, false}) {
      Net net({.height = vertical ? c.input : 40, .width = vertical ? 40 : c.input, .channels = 1});
      Padding padding = c.padding;
      if (auto* given = std::get_if<Padding2d>(&padding)) {
        *given = vertical ? Padding2d{given->top, given->bottom, 0, 0}
                          : Padding2d{0, 0, given->left, given->right};
      }
      const Size2d kernel = vertical ? Size2d{c.kernel, 1} : Size2d{1, c.kernel};
      const Value y = net.Conv2d(net.input(), 1, kernel,
                                 {.stride = vertical ? Size2d{c.stride, 1} : Size2d{1, c.stride},
                                  .rate = vertical ? Size2d{c.rate, 1} : Size2d{1, c.rate},
                                  .padding = padding});
      EXPECT_EQ(y.height(), vertical ? c.output : 40);
      EXPECT_EQ(y.width(), vertical ? 40 : c.output);
      ASSERT_OK_AND_ASSIGN(const auto graph, net.Finish(y));
      const Padding2d expected =
          vertical ? Padding2d{c.before, c.after, 0, 0} : Padding2d{0, 0, c.before, c.after};
      EXPECT_EQ(OpsOf<ConvOp>(graph).front().padding, expected);
    }
  }
}

TEST(NetTest, PadsDepthwiseConvolutionsAndPoolingsAlike) {
  for (const PaddingCase& c : kPaddings) {
    SCOPED_TRACE(testing::Message()
                 << c.input << " " << c.kernel << " " << c.stride << " " << c.rate);
    Net net({.height = c.input, .width = c.input});
    const Size2d kernel{c.kernel, c.kernel};
    const Size2d stride{c.stride, c.stride};
    const Shape expected{kAny, c.output, c.output, 3};
    EXPECT_EQ(net.SeparableConv2d(
                     net.input(), 0, kernel, 1,
                     {.stride = stride, .rate = Size2d{c.rate, c.rate}, .padding = c.padding})
                  .shape(),
              expected);
    if (c.rate == 1 && !std::holds_alternative<Padding2d>(c.padding)) {
      EXPECT_EQ(
          net.MaxPool2d(net.input(), kernel, {.stride = stride, .padding = c.padding}).shape(),
          expected);
    }
    ASSERT_OK_AND_ASSIGN(const auto graph, net.Finish(net.input()));
    const Padding2d padding{c.before, c.after, c.before, c.after};
    EXPECT_EQ(OpsOf<ConvOp>(graph).front().padding, padding);
    for (const PoolOp& pool : OpsOf<PoolOp>(graph)) EXPECT_EQ(pool.padding, padding);
  }
}

// --- Shapes.

TEST(NetTest, LayersHaveTheShapesOfTheirDefinitions) {
  Net net({.height = 6, .width = 4, .channels = 8});
  const Value x = net.input();
  EXPECT_EQ(x.shape(), (Shape{kAny, 6, 4, 8}));
  EXPECT_EQ(net.GlobalAvgPool(x).shape(), (Shape{kAny, 1, 1, 8}));
  EXPECT_EQ(net.Squeeze(net.GlobalAvgPool(x)).shape(), (Shape{kAny, 8}));
  EXPECT_EQ(net.Flatten(x).shape(), (Shape{kAny, 192}));
  EXPECT_EQ(net.Flatten(net.Flatten(x)).shape(), (Shape{kAny, 192}));
  EXPECT_EQ(net.Concat({x, x, net.PadChannels(x, 1, 2)}).shape(), (Shape{kAny, 6, 4, 27}));
  EXPECT_EQ(net.Reshape(x, {3, 8, 8}).shape(), (Shape{kAny, 3, 8, 8}));
  for (const Value& same :
       {net.Dropout(x, 0.8f), net.Lrn(x, {.radius = 2}), net.Softmax(x), net.Apply(x, Relu()),
        net.Prelu(x, Constant(0.25f), "prelu"), net.Scale(x, true, "scale"), net.Add(x, x, 0.5f),
        net.Eltwise({.kind = EltwiseOp::Kind::kMax, .coefficients = {}}, {x, x, x})}) {
    EXPECT_EQ(same.shape(), x.shape());
  }
  const Value grouped = net.Conv2d(x, 4, {3, 3}, {.groups = 2, .scope = "g"});
  EXPECT_EQ(grouped.shape(), (Shape{kAny, 6, 4, 4}));
  ASSERT_OK_AND_ASSIGN(const auto graph,
                       net.Finish(net.SeparableConv2d(x, 5, {3, 3}, 2, {.scope = "s"})));
  std::map<std::string, Shape> shapes;
  for (const Variable& variable : graph.variables()) shapes[variable.name] = variable.shape;
  EXPECT_EQ(shapes["prelu/slope"], (Shape{8}));
  EXPECT_EQ(shapes["scale/gamma"], (Shape{8}));
  EXPECT_EQ(shapes["scale/beta"], (Shape{8}));
  EXPECT_EQ(shapes["g/weights"], (Shape{3, 3, 4, 4}));
  EXPECT_EQ(shapes["s/depthwise_weights"], (Shape{3, 3, 8, 2}));
  EXPECT_EQ(shapes["s/pointwise_weights"], (Shape{1, 1, 16, 5}));
  EXPECT_EQ(shapes["s/biases"], (Shape{5}));
  EXPECT_EQ(OpsOf<EltwiseOp>(graph)[0].coefficients, (std::vector<float>{1, 0.5f}));
  EXPECT_EQ(OpsOf<ConvOp>(graph)[1].groups, 8);
}

TEST(NetTest, ApplyingNoActivationAddsNothing) {
  Net net({.height = 4, .width = 4});
  ASSERT_OK_AND_ASSIGN(const auto graph, net.Finish(net.Apply(net.input(), nullptr)));
  EXPECT_EQ(graph.nodes().size(), 1u);
  EXPECT_EQ(graph.logits(), graph.input());
}

// --- End points.

TEST(NetTest, CollectsEndPointsWhileTheGuardLives) {
  Net net({.height = 16, .width = 16});
  const auto scope = net.Scope("n");
  Value x = net.Conv2d(net.input(), 1, {3, 3}, {.scope = "before"});
  {
    const auto collected = net.CollectEndPoints();
    x = net.Conv2d(x, 1, {3, 3}, {.normalizer = BatchNorm(), .scope = "conv"});
    x = net.MaxPool2d(x, {2, 2}, {.scope = "pool"});
    {
      const auto fewer = net.CollectEndPoints({.poolings = false});
      x = net.MaxPool2d(x, {2, 2}, {.scope = "left_out"});
    }
    x = net.SeparableConv2d(x, 2, {3, 3}, 1, {.scope = "separable"});
    x = net.FullyConnected(net.Flatten(x), 2, {.scope = "fc"});
  }
  x = net.FullyConnected(x, 2, {.scope = "after"});
  net.EndPoint("Logits", net.input());
  net.EndPoint("Logits", x);
  ASSERT_OK_AND_ASSIGN(const auto graph, net.Finish(x));
  EXPECT_THAT(EndPointNames(graph),
              ElementsAre("Logits", "n/conv", "n/fc", "n/pool", "n/separable"));
  // What a layer's end point holds is its value after normalization and activation.
  EXPECT_STREQ(OpName(graph.node(*graph.EndPoint("n/conv")).op), "Activation");
  EXPECT_EQ(*graph.EndPoint("Logits"), graph.logits());
}

// --- Functions of the user's own.

class Cube : public Activation {
 public:
  std::string name() const override { return "cube"; }
  void Forward(std::span<const float> x, std::span<float> y) const override {
    for (std::size_t i = 0; i < x.size(); ++i) y[i] = x[i] * x[i] * x[i];
  }
  void Backward(std::span<const float> x, std::span<const float>, std::span<const float> dy,
                std::span<float> dx) const override {
    for (std::size_t i = 0; i < x.size(); ++i) dx[i] = 3 * x[i] * x[i] * dy[i];
  }
};

class Ramp : public Initializer {
 public:
  std::string name() const override { return "ramp"; }
  void Fill(const Shape&, std::uint64_t, std::span<float> values) const override {
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  }
};

class ScaleOnly : public Normalizer {
 public:
  Value Apply(Net& net, Value x) const override { return net.Scale(x, false, "own"); }
};

TEST(NetTest, TakesFunctionsOfItsUsers) {
  Net net({.height = 4, .width = 4});
  const Value x = net.Conv2d(net.input(), 2, {1, 1},
                             {.activation = std::make_shared<Cube>(),
                              .normalizer = std::make_shared<ScaleOnly>(),
                              .weights_initializer = std::make_shared<Ramp>(),
                              .scope = "c"});
  ASSERT_OK_AND_ASSIGN(const auto graph, net.Finish(x));
  EXPECT_THAT(VariableNames(graph), ElementsAre("c/weights", "c/own/gamma"));
  EXPECT_EQ(graph.variable(0).initializer->name(), "ramp");
  const auto activation = OpsOf<ActivationOp>(graph);
  ASSERT_EQ(activation.size(), 1u);
  EXPECT_EQ(activation[0].function->name(), "cube");
  EXPECT_FALSE(activation[0].function->kernel());
}

// --- Mistakes.

TEST(NetTest, KeepsTheFirstErrorAndWhereItHappened) {
  Net net({.height = 4, .width = 4});
  const auto scope = net.Scope("net");
  Value x = net.MaxPool2d(net.input(), {5, 5}, {.scope = "pool"});
  x = net.Conv2d(x, -1, {3, 3}, {.scope = "conv"});
  EXPECT_THAT(ErrorOf(net.Finish(x)), AllOf(HasSubstr("net/pool"), HasSubstr("4x4"),
                                            HasSubstr("5x5"), testing::Not(HasSubstr("conv"))));
}

TEST(NetTest, NetworksReportTheirOwnErrors) {
  Net net({.height = 4, .width = 4});
  {
    const auto scope = net.Scope("net");
    net.Fail(absl::OkStatus());
    net.Fail(InvalidArgument("no multiplier {}", 7));
  }
  net.Fail(InvalidArgument("later"));
  EXPECT_EQ(ErrorOf(net.Finish(net.input())), "net: no multiplier 7");
}

TEST(NetTest, RefusesASecondVariableOfTheSameName) {
  Net net({.height = 4, .width = 4});
  net.Conv2d(net.input(), 1, {1, 1}, {.scope = "c"});
  net.Conv2d(net.input(), 1, {1, 1}, {.scope = "c"});
  EXPECT_THAT(ErrorOf(net.Finish(net.input())), HasSubstr("c/weights"));
}

TEST(NetTest, RefusesWhatIsNotAnImage) {
  for (const Net::InputSize& size :
       std::vector<Net::InputSize>{{.height = 0, .width = 4},
                                   {.height = 4, .width = -1},
                                   {.height = 4, .width = 4, .channels = 0},
                                   {.height = 1 << 30, .width = 1}}) {
    Net net(size);
    EXPECT_THAT(ErrorOf(net.Finish(net.input())), HasSubstr("is not an image"));
  }
}

// Each of these must end in an error, whatever the numbers; run under a sanitizer, also without
// overflow.
TEST(NetTest, RefusesWhatIsNoLayer) {
  using Make = std::function<Value(Net&, Value)>;
  constexpr int kMax = std::numeric_limits<int>::max();
  const std::vector<std::pair<std::string, Make>> mistakes = {
      {"no channels", [](Net& n, Value x) { return n.Conv2d(x, 0, {1, 1}); }},
      {"many channels", [](Net& n, Value x) { return n.Conv2d(x, kMax, {1, 1}); }},
      {"no kernel", [](Net& n, Value x) { return n.Conv2d(x, 1, {0, 1}); }},
      {"huge kernel", [](Net& n, Value x) { return n.Conv2d(x, 1, {kMax, kMax}); }},
      {"no stride",
       [](Net& n, Value x) { return n.Conv2d(x, 1, {1, 1}, {.stride = Size2d{0, 1}}); }},
      {"huge stride",
       [](Net& n, Value x) { return n.Conv2d(x, 1, {1, 1}, {.stride = Size2d{kMax, 1}}); }},
      {"huge rate",
       [](Net& n, Value x) { return n.Conv2d(x, 1, {2, 2}, {.rate = Size2d{kMax, 1}}); }},
      {"groups", [](Net& n, Value x) { return n.Conv2d(x, 4, {1, 1}, {.groups = 3}); }},
      {"negative padding",
       [](Net& n, Value x) { return n.Conv2d(x, 1, {1, 1}, {.padding = Padding2d{0, -1, 0, 0}}); }},
      {"huge padding",
       [](Net& n, Value x) {
         return n.MaxPool2d(x, {2, 2}, {.padding = Padding2d{kMax, 0, 0, 0}});
       }},
      {"a window over padding only",
       [](Net& n, Value x) { return n.MaxPool2d(x, {2, 2}, {.padding = Padding2d{2, 0, 0, 0}}); }},
      {"kernel over map",
       [](Net& n, Value x) { return n.Conv2d(x, 1, {9, 9}, {.padding = kValid}); }},
      {"convolution of a vector",
       [](Net& n, Value x) { return n.Conv2d(n.Flatten(x), 1, {1, 1}); }},
      {"separable, huge stride",
       [](Net& n, Value x) {
         return n.SeparableConv2d(x, 1, {1, 1}, 1, {.stride = Size2d{kMax, kMax}});
       }},
      {"separable, huge multiplier",
       [](Net& n, Value x) {
         return n.SeparableConv2d(n.Conv2d(x, 1 << 19, {1, 1}), 1, {1, 1}, 4096);
       }},
      {"separable, many channels",
       [](Net& n, Value x) { return n.SeparableConv2d(x, kMax, {1, 1}, 1); }},
      {"separable of a vector",
       [](Net& n, Value x) { return n.SeparableConv2d(n.Flatten(x), 1, {1, 1}, 1); }},
      {"fully connected map", [](Net& n, Value x) { return n.FullyConnected(x, 2); }},
      {"no features", [](Net& n, Value x) { return n.FullyConnected(n.Flatten(x), 0); }},
      {"pooling without window", [](Net& n, Value x) { return n.AvgPool2d(x, {0, 0}); }},
      {"pooling of a vector", [](Net& n, Value x) { return n.MaxPool2d(n.Flatten(x), {1, 1}); }},
      {"global pooling of a vector", [](Net& n, Value x) { return n.GlobalAvgPool(n.Flatten(x)); }},
      {"squeezing a map", [](Net& n, Value x) { return n.Squeeze(x); }},
      {"reshape", [](Net& n, Value x) { return n.Reshape(x, {7}); }},
      {"reshape to less than nothing", [](Net& n, Value x) { return n.Reshape(x, {-1, -64}); }},
      {"different shapes", [](Net& n, Value x) { return n.Add(x, n.MaxPool2d(x, {2, 2})); }},
      {"sum of nothing", [](Net& n, Value) { return n.Eltwise({}, {}); }},
      {"coefficients",
       [](Net& n, Value x) { return n.Eltwise({.coefficients = {1, 2, 3}}, {x, x}); }},
      {"concatenation of different maps",
       [](Net& n, Value x) { return n.Concat({x, n.MaxPool2d(x, {2, 2})}); }},
      {"concatenation of map and vector",
       [](Net& n, Value x) { return n.Concat({x, n.Flatten(x)}); }},
      {"concatenation of nothing", [](Net& n, Value) { return n.Concat({}); }},
      {"negative channels", [](Net& n, Value x) { return n.PadChannels(x, -1, 1); }},
      {"too many channels", [](Net& n, Value x) { return n.PadChannels(x, kMax, kMax); }},
      {"dropping all", [](Net& n, Value x) { return n.Dropout(x, 0); }},
      {"keeping more than all", [](Net& n, Value x) { return n.Dropout(x, 1.5f); }},
      {"keeping no number",
       [](Net& n, Value x) { return n.Dropout(x, std::numeric_limits<float>::quiet_NaN()); }},
      {"LRN", [](Net& n, Value x) { return n.Lrn(x, {.radius = -1}); }},
  };
  for (const auto& [what, make] : mistakes) {
    Net net({.height = 4, .width = 4, .channels = 4});
    const Value x = make(net, net.input());
    EXPECT_FALSE(ErrorOf(net.Finish(x)).empty()) << what;
  }
}

TEST(NetTest, RefusesMapsThatGrowBeyondAllImages) {
  Net net({.height = 4, .width = 4});
  Value x = net.input();
  for (int i = 0; i < 10000; ++i) {
    x = net.Conv2d(x, 1, {1, 1}, {.padding = Padding2d{1 << 20, 1 << 20, 1 << 20, 1 << 20}});
  }
  EXPECT_THAT(ErrorOf(net.Finish(x)), HasSubstr("too large"));
}

TEST(NetTest, RefusesFeaturesThatNoNumberCounts) {
  Net net({.height = 1 << 20, .width = 1 << 20, .channels = 1 << 20});
  EXPECT_FALSE(net.Finish(net.FullyConnected(net.Flatten(net.input()), 1)).ok());
}

TEST(NetTest, FinishNamesTheOutputs) {
  Net net({.height = 4, .width = 4});
  const Value features = net.Flatten(net.input());
  const Value aux = net.FullyConnected(features, 2, {.scope = "aux"});
  const Value logits = net.FullyConnected(features, 2, {.scope = "logits"});
  ASSERT_OK_AND_ASSIGN(const auto graph, net.Finish(logits, aux));
  EXPECT_EQ(graph.node(graph.logits()).name, "logits");
  ASSERT_TRUE(graph.aux_logits());
  EXPECT_EQ(graph.node(*graph.aux_logits()).name, "aux");
  EXPECT_THAT(graph.end_points(), IsEmpty());
}

}  // namespace
}  // namespace zood::graph
