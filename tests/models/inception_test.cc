// What the lists of the original framework do not say about the Inception networks: other image
// sizes, other numbers of classes, and what training starts from.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "graph/graph.h"
#include "models/zoo.h"
#include "tests/support/status_testing.h"

namespace zood::models {
namespace {

using testing::HasSubstr;

constexpr const char* kNetworks[] = {"inception_v1", "inception_v2", "inception_v3", "inception_v4",
                                     "inception_resnet_v2"};

absl::StatusOr<graph::Graph> Build(const std::string& name, const NetworkArgs& args) {
  static const Zoo* const zoo = new Zoo(Zoo::Standard());
  const auto architecture = zoo->Find(name);
  if (!architecture.ok()) return architecture.status();
  return BuildGraph(**architecture, args);
}

const graph::Variable* FindVariable(const graph::Graph& graph, const std::string& name) {
  const auto found = std::ranges::find(graph.variables(), name, &graph::Variable::name);
  return found == graph.variables().end() ? nullptr : &*found;
}

Shape ShapeOf(const graph::Graph& graph, const std::string& name) {
  const graph::Variable* variable = FindVariable(graph, name);
  EXPECT_NE(variable, nullptr) << name;
  return variable == nullptr ? Shape{} : variable->shape;
}

std::string InitializerOf(const graph::Graph& graph, const std::string& name) {
  const graph::Variable* variable = FindVariable(graph, name);
  return variable == nullptr ? name + " is missing" : variable->initializer->name();
}

bool IsRegularized(const graph::Graph& graph, const std::string& name) {
  const graph::Variable* variable = FindVariable(graph, name);
  EXPECT_NE(variable, nullptr) << name;
  return variable != nullptr && variable->regularizer != nullptr;
}

TEST(InceptionTest, TakesOtherImageSizesAndNumbersOfClasses) {
  for (const std::string name : kNetworks) {
    const NetworkArgs variants[] = {
        {.num_classes = 5, .height = 128, .width = 128},
        {.num_classes = 1, .height = 200, .width = 200},
        {.num_classes = 1001, .height = 331, .width = 331},
        {.num_classes = 10, .height = 448, .width = 160},
        {.num_classes = 21843, .height = 512, .width = 512, .channels = 1},
    };
    for (const NetworkArgs& args : variants) {
      SCOPED_TRACE(name + " for " + std::to_string(args.height));
      ASSERT_OK_AND_ASSIGN(const auto graph, Build(name, args));
      const Shape expected{Shape::kAnyBatch, args.num_classes};
      EXPECT_EQ(graph.node(graph.logits()).shape, expected);
      if (graph.aux_logits()) {
        EXPECT_EQ(graph.node(*graph.aux_logits()).shape, expected);
      }
    }
  }
}

TEST(InceptionTest, KeepsTheShapesOfAllButAuxiliaryWeightsAtOtherSizes) {
  for (const std::string name : kNetworks) {
    const auto small = Build(name, {.num_classes = 7, .height = 150, .width = 150});
    const auto large = Build(name, {.num_classes = 7, .height = 448, .width = 320});
    ASSERT_TRUE(small.ok() && large.ok()) << small.status() << large.status();
    ASSERT_EQ(small->variables().size(), large->variables().size());
    for (const graph::Variable& variable : small->variables()) {
      if (variable.name.find("/AuxLogits/") != std::string::npos) continue;
      EXPECT_EQ(ShapeOf(*large, variable.name), variable.shape);
    }
  }
}

TEST(InceptionTest, PadsOddMapsOfV1) {
  ASSERT_OK_AND_ASSIGN(const auto graph,
                       Build("inception_v1", {.num_classes = 7, .height = 240, .width = 272}));
  const auto pooled = graph.EndPoint("MaxPool_5a_2x2");  // of 15x17
  ASSERT_TRUE(pooled.ok()) << pooled.status();
  EXPECT_EQ(graph.node(*pooled).shape, (Shape{Shape::kAnyBatch, 8, 9, 832}));
}

TEST(InceptionTest, WithoutClassesEndsWithTheFeatures) {
  const int widths[] = {1024, 1024, 2048, 1536, 1536};
  for (std::size_t i = 0; i < std::size(kNetworks); ++i) {
    const auto graph = Build(kNetworks[i], {.num_classes = 0, .height = 224, .width = 224});
    ASSERT_TRUE(graph.ok()) << graph.status();
    EXPECT_EQ(graph->node(graph->logits()).shape, (Shape{Shape::kAnyBatch, widths[i]}));
    EXPECT_FALSE(graph->aux_logits());
    for (const graph::Variable& variable : graph->variables()) {
      EXPECT_EQ(variable.name.find("ogits"), std::string::npos) << variable.name;
    }
    EXPECT_FALSE(graph->EndPoint("Logits").ok());
  }
}

TEST(InceptionTest, NamesTheLayerThatImagesAreTooSmallFor) {
  struct Case {
    const char* network;
    int size;
    const char* layer;
  };
  for (const auto& [network, size, layer] : {
           Case{"inception_v3", 47, "InceptionV3/Mixed_7a"},
           Case{"inception_v3", 80, "InceptionV3/AuxLogits/AvgPool_1a_5x5"},
           Case{"inception_v4", 2, "InceptionV4/Conv2d_1a_3x3"},
           Case{"inception_v4", 90, "InceptionV4/AuxLogits/AvgPool_1a_5x5"},
           Case{"inception_resnet_v2", 23, "InceptionResnetV2/MaxPool_5a_3x3"},
       }) {
    const auto graph = Build(network, {.num_classes = 10, .height = size, .width = size});
    ASSERT_EQ(graph.status().code(), absl::StatusCode::kInvalidArgument) << network << " " << size;
    EXPECT_THAT(std::string(graph.status().message()), HasSubstr(network));
    EXPECT_THAT(std::string(graph.status().message()), HasSubstr(layer));
    EXPECT_THAT(std::string(graph.status().message()), HasSubstr("use larger images"));
  }
}

TEST(InceptionTest, AuxiliaryHeadOfV3IsNamedAfterItsKernel) {
  const std::string scope = "InceptionV3/AuxLogits/";
  ASSERT_OK_AND_ASSIGN(const auto small,
                       Build("inception_v3", {.num_classes = 9, .height = 240, .width = 299}));
  EXPECT_EQ(ShapeOf(small, scope + "Conv2d_2a_3x5/weights"), (Shape{3, 5, 128, 768}));
  ASSERT_OK_AND_ASSIGN(const auto large,
                       Build("inception_v3", {.num_classes = 9, .height = 448, .width = 448}));
  EXPECT_EQ(ShapeOf(large, scope + "Conv2d_2a_5x5/weights"), (Shape{5, 5, 128, 768}));
}

TEST(InceptionTest, StartsFromTheOriginalDistributions) {
  const auto v1 = Build("inception_v1", {.num_classes = 5, .height = 224, .width = 224});
  const auto v2 = Build("inception_v2", {.num_classes = 5, .height = 224, .width = 224});
  const auto v3 = Build("inception_v3", {.num_classes = 5, .height = 299, .width = 299});
  const auto resnet = Build("inception_resnet_v2", {.num_classes = 5, .height = 299, .width = 299});
  ASSERT_TRUE(v1.ok() && v2.ok() && v3.ok() && resnet.ok());
  const auto truncated = [](float stddev) { return graph::TruncatedNormal(stddev)->name(); };
  const std::string scaled = graph::VarianceScaling()->name();
  EXPECT_EQ(InitializerOf(*v1, "InceptionV1/Mixed_4b/Branch_1/Conv2d_0b_3x3/weights"),
            truncated(0.01f));
  EXPECT_EQ(InitializerOf(*v1, "InceptionV1/Logits/Conv2d_0c_1x1/weights"), scaled);
  EXPECT_EQ(InitializerOf(*v2, "InceptionV2/Conv2d_1a_7x7/depthwise_weights"), truncated(1));
  EXPECT_EQ(InitializerOf(*v2, "InceptionV2/Conv2d_2b_1x1/weights"), truncated(0.1f));
  EXPECT_EQ(InitializerOf(*v2, "InceptionV2/Mixed_5a/Branch_0/Conv2d_0a_1x1/weights"),
            truncated(0.09f));
  EXPECT_EQ(InitializerOf(*v2, "InceptionV2/Mixed_5c/Branch_3/Conv2d_0b_1x1/weights"),
            truncated(0.1f));
  EXPECT_EQ(InitializerOf(*v2, "InceptionV2/Mixed_5c/Branch_1/Conv2d_0b_3x3/weights"), scaled);
  EXPECT_EQ(InitializerOf(*v3, "InceptionV3/AuxLogits/Conv2d_2a_5x5/weights"), truncated(0.01f));
  EXPECT_EQ(InitializerOf(*v3, "InceptionV3/AuxLogits/Conv2d_2b_1x1/weights"), truncated(0.001f));
  EXPECT_EQ(InitializerOf(*v3, "InceptionV3/AuxLogits/Conv2d_1b_1x1/weights"), scaled);
  EXPECT_EQ(InitializerOf(*v3, "InceptionV3/Logits/Conv2d_1c_1x1/weights"), scaled);
  EXPECT_EQ(InitializerOf(*resnet, "InceptionResnetV2/Conv2d_1a_3x3/weights"),
            graph::Xavier()->name());
}

TEST(InceptionTest, RegularizesWhatTheOriginalDoes) {
  for (const std::string name : kNetworks) {
    const auto graph = Build(name, {.num_classes = 5, .height = 299, .width = 299});
    ASSERT_TRUE(graph.ok()) << graph.status();
    for (const graph::Variable& variable : graph->variables()) {
      const std::string leaf = variable.name.substr(variable.name.rfind('/') + 1);
      const bool expected =
          leaf == "weights" || (leaf == "biases" && name == "inception_resnet_v2");
      EXPECT_EQ(IsRegularized(*graph, variable.name), expected) << variable.name;
      if (expected) {
        const float two[] = {2.0f};
        EXPECT_NEAR(variable.regularizer->Loss(two), 0.5 * 0.00004 * 4, 1e-11) << variable.name;
      }
      EXPECT_EQ(variable.trainable, !leaf.starts_with("moving_")) << variable.name;
    }
  }
}

TEST(InceptionTest, DropsAFifthOfTheFeaturesInTraining) {
  for (const std::string name : kNetworks) {
    const auto graph = Build(name, {.num_classes = 5, .height = 299, .width = 299});
    ASSERT_TRUE(graph.ok()) << graph.status();
    std::vector<float> kept;
    for (const graph::Node& node : graph->nodes()) {
      if (const auto* op = std::get_if<graph::DropoutOp>(&node.op)) {
        kept.push_back(op->keep_probability);
      }
      if (const auto* op = std::get_if<graph::BatchNormOp>(&node.op)) {
        EXPECT_EQ(op->decay, 0.9997f) << node.name;
      }
    }
    EXPECT_EQ(kept, std::vector<float>{0.8f}) << name;
  }
}

TEST(InceptionTest, HeadScopesHoldAllThatChangesWithTheClasses) {
  const Zoo zoo = Zoo::Standard();
  for (const std::string name : kNetworks) {
    ASSERT_OK_AND_ASSIGN(const auto architecture, zoo.Find(name));
    const auto few = Build(name, {.num_classes = 5, .height = 299, .width = 299});
    const auto many = Build(name, {.num_classes = 50, .height = 299, .width = 299});
    ASSERT_TRUE(few.ok() && many.ok());
    for (const graph::Variable& variable : few->variables()) {
      if (ShapeOf(*many, variable.name) == variable.shape) continue;
      EXPECT_TRUE(std::ranges::any_of(architecture->head_scopes, [&](const std::string& scope) {
        return variable.name.starts_with(scope + "/");
      })) << variable.name;
    }
  }
}

}  // namespace
}  // namespace zood::models
