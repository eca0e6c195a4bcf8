#include "graph/cut.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "engine/executable.h"
#include "graph/net.h"
#include "models/zoo.h"
#include "tests/support/fill_variables.h"
#include "tests/support/status_testing.h"

namespace zood::graph {
namespace {

using ::testing::ElementsAre;

Graph Network(const std::string& name, models::NetworkArgs args) {
  static const auto* const zoo = new models::Zoo(models::Zoo::Standard());
  return zood::ValueOf(models::BuildGraph(**zoo->Find(name), args));
}

// Flags for the variables whose names start with one of `prefixes`.
std::vector<bool> Updated(const Graph& graph, const std::vector<std::string>& prefixes) {
  std::vector<bool> updated;
  for (const Variable& variable : graph.variables()) {
    bool matches = false;
    for (const std::string& prefix : prefixes) matches |= variable.name.starts_with(prefix);
    updated.push_back(matches);
  }
  EXPECT_THAT(updated, ::testing::Contains(true));
  return updated;
}

std::vector<std::string> NamesOf(const Graph& graph) {
  std::vector<std::string> names;
  for (const Variable& variable : graph.variables()) names.push_back(variable.name);
  return names;
}

// The logits of `graph` for what node 0 holds.
std::vector<float> Run(const Graph& graph, const std::vector<float>& input) {
  const auto executable = engine::Executable::Compile(
      std::make_shared<Graph>(graph), zood::testing::FillVariables(graph), {.threads = 1});
  EXPECT_TRUE(executable.ok()) << executable.status();
  auto execution = *engine::Execution::Create(*executable);
  std::ranges::copy(input, execution->input(1).begin());
  EXPECT_TRUE(execution->Run(1).ok());
  const auto logits = execution->logits();
  return {logits.begin(), logits.end()};
}

std::vector<float> AnyInput(const Graph& graph) {
  return ::zood::testing::Fill("cut_test/input", graph.input_shape().WithBatch(1).dims());
}

// Both parts, one after the other, compute what the whole does; every variable is in one of them.
void ExpectPartsMakeTheWhole(const Graph& graph, NodeId cut) {
  ASSERT_OK_AND_ASSIGN(const auto before, Before(graph, cut));
  ASSERT_OK_AND_ASSIGN(const auto after, After(graph, cut));
  EXPECT_EQ(before.node(before.logits()).shape, graph.node(cut).shape);
  EXPECT_EQ(after.input_shape(), graph.node(cut).shape);
  const NodeId logits[] = {graph.logits()};
  const auto needed = graph.NodesNeededBy(logits);
  EXPECT_EQ(before.nodes().size() + after.nodes().size(),
            static_cast<std::size_t>(std::ranges::count(needed, true)) + 1);

  std::multiset<std::string> names;
  for (const Graph* part : {&before, &after}) {
    for (const std::string& name : NamesOf(*part)) names.insert(name);
  }
  const auto all = NamesOf(graph);
  EXPECT_EQ(names, (std::multiset<std::string>(all.begin(), all.end())));

  const auto image = AnyInput(graph);
  EXPECT_EQ(Run(after, Run(before, image)), Run(graph, image));
}

TEST(FrozenCutTest, OfALeNetHeadIsTheFeaturesBeforeDropout) {
  const Graph graph =
      Network("lenet", {.num_classes = 10, .height = 28, .width = 28, .channels = 1});
  const auto cut = FrozenCut(graph, Updated(graph, {"LeNet/fc4"}));
  ASSERT_TRUE(cut.has_value());
  // What follows it is the dropout.
  EXPECT_TRUE(std::holds_alternative<ActivationOp>(graph.node(*cut).op));
  EXPECT_EQ(graph.node(*cut).shape, (Shape{Shape::kAnyBatch, 1024}));
  EXPECT_TRUE(std::holds_alternative<DropoutOp>(graph.node(*cut + 1).op));
  ExpectPartsMakeTheWhole(graph, *cut);
  EXPECT_THAT(NamesOf(*After(graph, *cut)), ElementsAre("LeNet/fc4/weights", "LeNet/fc4/biases"));
}

TEST(FrozenCutTest, OfAResNetHeadIsThePooledFeatures) {
  const Graph graph = Network("resnet_v1_50", {.num_classes = 5, .height = 64, .width = 64});
  const auto cut = FrozenCut(graph, Updated(graph, {"resnet_v1_50/logits"}));
  ASSERT_TRUE(cut.has_value());
  EXPECT_EQ(graph.node(*cut).shape, (Shape{Shape::kAnyBatch, 1, 1, 2048}));
  ExpectPartsMakeTheWhole(graph, *cut);
}

TEST(FrozenCutTest, LiesBeforeTheBranchesThatAnUpdatedLayerIsIn) {
  const Graph graph = Network("resnet_v1_50", {.num_classes = 5, .height = 64, .width = 64});
  // In the residual branch of the last unit: the unit's input also runs past it.
  const auto cut = FrozenCut(
      graph,
      Updated(graph, {"resnet_v1_50/block4/unit_3/bottleneck_v1/conv2", "resnet_v1_50/logits"}));
  ASSERT_TRUE(cut.has_value());
  EXPECT_EQ(*cut, *graph.EndPoint("resnet_v1_50/block4/unit_2/bottleneck_v1"));
  ExpectPartsMakeTheWhole(graph, *cut);
}

TEST(FrozenCutTest, OfAnInceptionHeadIsThePooledFeatures) {
  const Graph graph = Network("inception_v1", {.num_classes = 7, .height = 224, .width = 224});
  const auto cut = FrozenCut(graph, Updated(graph, {"InceptionV1/Logits"}));
  ASSERT_TRUE(cut.has_value());
  EXPECT_EQ(graph.node(*cut).shape, (Shape{Shape::kAnyBatch, 1, 1, 1024}));
  ExpectPartsMakeTheWhole(graph, *cut);
}

TEST(FrozenCutTest, LiesWhereAnAuxiliaryHeadBranchesOff) {
  const Graph graph = Network("inception_v3", {.num_classes = 3, .height = 299, .width = 299});
  ASSERT_TRUE(graph.aux_logits().has_value());
  const auto cut =
      FrozenCut(graph, Updated(graph, {"InceptionV3/Logits", "InceptionV3/AuxLogits"}));
  ASSERT_TRUE(cut.has_value());
  EXPECT_EQ(*cut, *graph.EndPoint("Mixed_6e"));
  ASSERT_OK_AND_ASSIGN(const auto after, After(graph, *cut));
  ASSERT_TRUE(after.aux_logits().has_value());
  EXPECT_EQ(after.node(*after.aux_logits()).shape, (Shape{Shape::kAnyBatch, 3}));
  const auto past = After(graph, *graph.EndPoint("Mixed_7c"));
  EXPECT_EQ(past.status().code(), absl::StatusCode::kInvalidArgument) << past.status();
}

TEST(FrozenCutTest, MovingStatisticsCountAsWell) {
  Net net({.height = 4, .width = 4, .channels = 1});
  Value x = net.Conv2d(net.input(), 2, {1, 1}, {.activation = nullptr, .scope = "a"});
  const Value norm = net.BatchNorm(x, {.center = false, .scope = "norm"});
  x = net.FullyConnected(net.Flatten(norm), 3, {.activation = nullptr, .scope = "b"});
  ASSERT_OK_AND_ASSIGN(const auto graph, net.Finish(x));
  EXPECT_EQ(FrozenCut(graph, Updated(graph, {"b"})), 3);          // the reshaped norm
  EXPECT_EQ(FrozenCut(graph, Updated(graph, {"norm", "b"})), 1);  // the convolution
  EXPECT_EQ(FrozenCut(graph, Updated(graph, {"a"})), std::nullopt);
  const std::vector<bool> none(graph.variables().size(), false);
  EXPECT_EQ(FrozenCut(graph, none), graph.logits());
  EXPECT_EQ(FrozenCut(graph, std::vector<bool>{true}), std::nullopt);
}

TEST(CutTest, RefusesNodesThatAreNot) {
  const Graph graph =
      Network("lenet", {.num_classes = 10, .height = 28, .width = 28, .channels = 1});
  for (const NodeId id : {-1, static_cast<NodeId>(graph.nodes().size())}) {
    EXPECT_EQ(Before(graph, id).status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(After(graph, id).status().code(), absl::StatusCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace zood::graph
