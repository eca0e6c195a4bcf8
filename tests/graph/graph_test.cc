#include "graph/graph.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "graph/net.h"
#include "graph/operations.h"
#include "graph/visit.h"
#include "tests/support/status_testing.h"

namespace zood::graph {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

// image -> conv -> relu -> {a: fc, b: fc}
Graph TwoHeads() {
  Net net({.height = 2, .width = 2, .channels = 1});
  Value x = net.Flatten(net.Conv2d(net.input(), 1, {1, 1}, {.scope = "conv"}));
  const Value a = net.FullyConnected(x, 2, {.activation = nullptr, .scope = "a"});
  const Value b = net.FullyConnected(x, 3, {.activation = nullptr, .scope = "b"});
  net.EndPoint("Logits", a);
  net.EndPoint("AuxLogits", b);
  return zood::ValueOf(net.Finish(a, b));
}

TensorMap WeightsOf(const Graph& graph) {
  TensorMap weights;
  for (const Variable& variable : graph.variables()) {
    const auto count = static_cast<std::size_t>(variable.shape.num_elements());
    weights[variable.name] = *Tensor::FromVector(variable.shape, std::vector<float>(count));
  }
  return weights;
}

TEST(GraphTest, InputsComeBeforeTheirUsers) {
  const Graph graph = TwoHeads();
  EXPECT_EQ(graph.input_shape(), (Shape{Shape::kAnyBatch, 2, 2, 1}));
  for (std::size_t i = 0; i < graph.nodes().size(); ++i) {
    for (const NodeId input : graph.nodes()[i].inputs) EXPECT_LT(input, static_cast<NodeId>(i));
  }
}

TEST(GraphTest, CountsOperationsOfTheLogits) {
  // Input, 1x1 convolution and activation on 2x2, reshape, 4 x 2 weights; b is not needed.
  EXPECT_EQ(CountOperations(TwoHeads()), kStepCost * (4 + 4 + 4) + 4 + 8);
  EXPECT_EQ(FindLargestStep(TwoHeads()).operations, kStepCost * 4);
  Net net({.height = 4096, .width = 4096, .channels = 1});
  const Value x = net.AvgPool2d(net.input(), {4095, 4095}, {.stride = Size2d{1, 1}});
  ASSERT_OK_AND_ASSIGN(const auto graph, net.Finish(net.Flatten(x)));
  EXPECT_GE(CountOperations(graph), 4.0 * 4095 * 4095);
}

TEST(GraphTest, FindsWhatOutputsNeed) {
  const Graph graph = TwoHeads();
  const NodeId logits[] = {graph.logits()};
  const NodeId both[] = {graph.logits(), *graph.aux_logits()};
  // input, conv, relu, reshape, a, b
  EXPECT_THAT(graph.NodesNeededBy(logits), ElementsAre(true, true, true, true, true, false));
  EXPECT_THAT(graph.NodesNeededBy(both), ElementsAre(true, true, true, true, true, true));
  EXPECT_THAT(graph.NodesNeededBy({}), ElementsAre(false, false, false, false, false, false));
  // weights and biases of conv, a and b
  EXPECT_THAT(graph.VariablesNeededBy(logits), ElementsAre(true, true, true, true, false, false));
  EXPECT_THAT(graph.VariablesNeededBy(both), ElementsAre(true, true, true, true, true, true));
}

TEST(GraphTest, VariablesNeededIncludeThoseOfEveryOperation) {
  Net net({.height = 4, .width = 4});
  Value x = net.Conv2d(net.input(), 2, {1, 1},
                       {.normalizer = BatchNorm({.scale = true}), .scope = "conv"});
  x = net.Scale(x, true, "scale");
  x = net.Prelu(x, Constant(0.25f), "prelu");
  x = net.SeparableConv2d(x, 2, {3, 3}, 1, {.scope = "separable"});
  ASSERT_OK_AND_ASSIGN(const auto graph, net.Finish(x));
  ASSERT_EQ(graph.variables().size(), 11u);
  const NodeId logits[] = {graph.logits()};
  EXPECT_THAT(graph.VariablesNeededBy(logits), testing::Each(true));
}

TEST(GraphTest, NamesTheKnownEndPointsWhenOneIsUnknown) {
  const Graph graph = TwoHeads();
  EXPECT_EQ(*graph.EndPoint("AuxLogits"), *graph.aux_logits());
  const auto missing = graph.EndPoint("Mixed_9z");
  EXPECT_EQ(missing.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(missing.status().message()),
              AllOf(HasSubstr("Mixed_9z"), HasSubstr("AuxLogits, Logits")));
}

TEST(GraphTest, AcceptsWeightsThatFitAndIgnoresOthers) {
  const Graph graph = TwoHeads();
  TensorMap weights = WeightsOf(graph);
  weights["global_step"] = *Tensor::FromVector(Shape{}, std::vector<std::int64_t>{1});
  EXPECT_TRUE(graph.CheckWeights(weights).ok());
}

TEST(GraphTest, SaysWhichWeightsDoNotFit) {
  const Graph graph = TwoHeads();
  TensorMap weights = WeightsOf(graph);
  weights.erase("conv/biases");
  weights["a/weights"] = *Tensor::FromVector(Shape{2, 4}, std::vector<float>(8));
  weights["b/biases"] = *Tensor::FromVector(Shape{3}, std::vector<double>(3));
  const absl::Status status = graph.CheckWeights(weights);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(
      std::string(status.message()),
      AllOf(HasSubstr("3 of 6"), HasSubstr("conv/biases: expected float32 [1], it is missing"),
            HasSubstr("a/weights: expected float32 [4,2], found float32 [2,4]"),
            HasSubstr("b/biases: expected float32 [3], found float64 [3]"),
            Not(HasSubstr("more"))));
}

TEST(GraphTest, NamesNoMoreThanFiveWeights) {
  const absl::Status status = TwoHeads().CheckWeights({});
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("6 of 6"), HasSubstr("b/weights"), Not(HasSubstr("b/biases")),
                    HasSubstr("and 1 more")));
}

TEST(GraphTest, OperationsHaveNames) {
  EXPECT_STREQ(OpName(InputOp{}), "Input");
  EXPECT_STREQ(OpName(PoolOp{}), "Pool");
  EXPECT_STREQ(OpName(SoftmaxOp{}), "Softmax");
}

TEST(VisitTest, VariablesAreVisitedInTheOrderOfTheMembersAndCanBeChanged) {
  Op norm = BatchNormOp{.moving_mean = 4, .moving_variance = 3, .gamma = {}, .beta = 1};
  EXPECT_THAT(VariablesOf(norm), ElementsAre(4, 3, 1));
  ForEachVariable(norm, [](VariableId& id) { id += 10; });
  EXPECT_THAT(VariablesOf(norm), ElementsAre(14, 13, 11));
  EXPECT_THAT(VariablesOf(ConvOp{.weights = 2, .biases = 5}), ElementsAre(2, 5));
  EXPECT_THAT(VariablesOf(FullyConnectedOp{.weights = 2}), ElementsAre(2));
  EXPECT_THAT(VariablesOf(ScaleOp{.gamma = 7, .beta = 6}), ElementsAre(7, 6));
  EXPECT_THAT(VariablesOf(PreluOp{.slope = 8}), ElementsAre(8));
  EXPECT_THAT(VariablesOf(PoolOp{}), ElementsAre());
}

TEST(VisitTest, SaysWhatDropoutAndReshapeAre) {
  EXPECT_TRUE(IsRandomInTraining(DropoutOp{}));
  EXPECT_FALSE(IsRandomInTraining(ReshapeOp{}));
  EXPECT_TRUE(IsIdentityAtInference(DropoutOp{}));
  EXPECT_TRUE(IsIdentityAtInference(ReshapeOp{}));
  EXPECT_FALSE(IsIdentityAtInference(SoftmaxOp{}));
}

}  // namespace
}  // namespace zood::graph
