// The zoo as a whole, and the networks at other sizes than their own.
#include "models/zoo.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <tuple>
#include <variant>
#include <vector>

#include "graph/graph.h"
#include "models/labels.h"
#include "tests/support/status_testing.h"

namespace zood::models {
namespace {

using testing::AllOf;
using testing::HasSubstr;

const Zoo& Standard() {
  static const Zoo* const zoo = new Zoo(Zoo::Standard());
  return *zoo;
}

std::vector<std::string> AllNames() {
  std::vector<std::string> names;
  for (const Architecture* architecture : Standard().List()) names.push_back(architecture->name);
  return names;
}

const Architecture& Find(const std::string& name) { return **Standard().Find(name); }

bool InScope(const std::string& name, const std::string& scope) {
  return name.starts_with(scope + "/");
}

const graph::Variable* FindVariable(const graph::Graph& graph, const std::string& name) {
  for (const graph::Variable& variable : graph.variables()) {
    if (variable.name == name) return &variable;
  }
  return nullptr;
}

Architecture Tiny(const std::string& name) {
  return {.name = name,
          .build =
              [](graph::Net& net, const NetworkArgs&) {
                return Architecture::Outputs{.logits = net.Flatten(net.input())};
              },
          .preprocess = Find("lenet").preprocess};
}

TEST(ZooTest, HasEveryPublishedNetwork) {
  EXPECT_EQ(AllNames().size(), 3 + 4 + 4 + 5 + 1 + 1 + 1 + 1 + 4 + 6 + 5 + 1u);
  EXPECT_TRUE(Standard().Find("inception_resnet_v2").ok());
}

TEST(ZooTest, ProposesTheNearestNamesForAnUnknownOne) {
  const auto found = Standard().Find("resnet50_v1");
  EXPECT_EQ(found.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(found.status().message()),
              AllOf(HasSubstr("\"resnet50_v1\""), HasSubstr("resnet_v1_")));
  EXPECT_THAT(std::string(Standard().Find("vgg16").status().message()),
              HasSubstr("names are vgg_16, "));
  EXPECT_LT(Standard().Find(std::string(1 << 20, 'x')).status().message().size(), 1000u);
}

TEST(ZooTest, TakesNetworksOfOtherPrograms) {
  Zoo zoo;
  EXPECT_TRUE(zoo.List().empty());
  ASSERT_TRUE(zoo.Add(Tiny("mine")).ok());
  EXPECT_EQ((*zoo.Find("mine"))->name, "mine");
  EXPECT_EQ(zoo.Add(Tiny("mine")).code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(zoo.Add(Tiny("")).code(), absl::StatusCode::kInvalidArgument);
  Architecture no_build = Tiny("no_build");
  no_build.build = nullptr;
  EXPECT_EQ(zoo.Add(no_build).code(), absl::StatusCode::kInvalidArgument);
}

class NetworkTest : public testing::TestWithParam<std::string> {
 protected:
  const Architecture& network() const { return Find(GetParam()); }
};

TEST_P(NetworkTest, DescribesItself) {
  EXPECT_FALSE(network().family.empty());
  EXPECT_FALSE(network().description.empty());
  EXPECT_FALSE(network().head_scopes.empty());
  EXPECT_TRUE(LabelsOf(network().labels, network().defaults.num_classes).ok());
}

TEST_P(NetworkTest, AnswersAVectorOfLogits) {
  const auto graph = BuildGraph(network(), network().defaults);
  ASSERT_TRUE(graph.ok()) << graph.status();
  EXPECT_EQ(graph->node(graph->logits()).shape,
            Shape({Shape::kAnyBatch, network().defaults.num_classes}));
  for (const graph::Variable& variable : graph->variables()) {
    EXPECT_TRUE(InScope(variable.name, network().scope)) << variable.name;
  }
}

// Exactly the variables of the head scopes depend on the number of classes, and are gone when there
// are no classes.
TEST_P(NetworkTest, ChangesItsHeadWithTheClasses) {
  NetworkArgs args = network().defaults;
  const auto own = BuildGraph(network(), args);
  args.num_classes = 7;
  const auto seven = BuildGraph(network(), args);
  args.num_classes = 0;
  const auto features = BuildGraph(network(), args);
  ASSERT_TRUE(own.ok() && seven.ok() && features.ok()) << features.status();
  EXPECT_EQ(seven->node(seven->logits()).shape, Shape({Shape::kAnyBatch, 7}));
  const Shape& shape = features->node(features->logits()).shape;
  ASSERT_EQ(shape.rank(), 2);
  EXPECT_GE(shape[1], 64);
  std::set<std::string> changed;
  for (const graph::Variable& variable : own->variables()) {
    bool in_head = false;
    for (const std::string& scope : network().head_scopes) {
      if (InScope(variable.name, scope)) {
        in_head = true;
        const graph::Variable* other = FindVariable(*seven, variable.name);
        ASSERT_NE(other, nullptr);
        if (other->shape != variable.shape) changed.insert(scope);
      }
    }
    const graph::Variable* kept = FindVariable(*features, variable.name);
    EXPECT_EQ(kept == nullptr, in_head) << variable.name;
    if (!in_head) {
      EXPECT_EQ(FindVariable(*seven, variable.name)->shape, variable.shape);
    }
  }
  EXPECT_EQ(changed.size(), network().head_scopes.size());
}

TEST_P(NetworkTest, TakesLargerImages) {
  NetworkArgs args = network().defaults;
  args.height += 65;
  args.width += 32;
  ASSERT_OK_AND_ASSIGN(const auto graph, BuildGraph(network(), args));
  EXPECT_EQ(graph.node(graph.logits()).shape,
            Shape({Shape::kAnyBatch, network().defaults.num_classes}));
}

TEST_P(NetworkTest, IsFedWithItsInput) {
  for (const auto& [height, width, channels] :
       {std::tuple{0, 0, 0}, std::tuple{33, 65, 0}, std::tuple{65, 31, 1}}) {
    NetworkArgs args = network().defaults;
    args.height += height;
    args.width += width;
    if (channels > 0) args.channels = channels;
    ASSERT_OK_AND_ASSIGN(const auto shape, image::OutputShape(network().preprocess(args)));
    EXPECT_EQ(shape, Shape({args.height, args.width, args.channels}));
  }
}

TEST_P(NetworkTest, RefusesWhatIsNoImageOrNoNumberOfClasses) {
  for (const NetworkArgs& args : {NetworkArgs{.num_classes = -1, .height = 224, .width = 224},
                                  NetworkArgs{.num_classes = 10, .height = 0, .width = 224},
                                  NetworkArgs{.num_classes = 10, .height = 224, .width = 1 << 30},
                                  NetworkArgs{.num_classes = 1 << 30, .height = 299, .width = 299},
                                  NetworkArgs{10, 224, 224, -3}}) {
    const auto graph = BuildGraph(network(), args);
    EXPECT_EQ(graph.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(graph.status().message()), HasSubstr(network().name));
  }
}

TEST_P(NetworkTest, BuildsAtEveryPublishedSize) {
  for (const Published& published : network().published) {
    if (published.image_size == 0) continue;
    NetworkArgs args = network().defaults;
    args.height = args.width = published.image_size;
    EXPECT_TRUE(BuildGraph(network(), args).ok()) << published.archive;
    EXPECT_THAT(published.archive, HasSubstr(std::to_string(published.image_size)));
  }
}

INSTANTIATE_TEST_SUITE_P(Zoo, NetworkTest, testing::ValuesIn(AllNames()),
                         [](const auto& network) { return network.param; });

TEST(SizesTest, MobileNetsTakeTheSmallestImages) {
  for (const char* name : {"mobilenet_v1_025", "mobilenet_v2_035", "resnet_v1_50", "resnet_v2_50",
                           "cifar_resnet20", "efficientnet_lite0"}) {
    NetworkArgs args = Find(name).defaults;
    args.height = args.width = 1;
    EXPECT_TRUE(BuildGraph(Find(name), args).ok()) << name;
  }
}

TEST(SizesTest, AnImageTooSmallForALayerIsAnErrorThatNamesIt) {
  const auto graph = BuildGraph(Find("vgg_16"), {.num_classes = 10, .height = 128, .width = 128});
  EXPECT_EQ(graph.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(graph.status().message()),
              AllOf(HasSubstr("vgg_16/fc6"), HasSubstr("7x7"), HasSubstr("larger images")));
}

TEST(SizesTest, LargerMapsAreAveragedBeforeTheFullyConvolutionalHead) {
  ASSERT_OK_AND_ASSIGN(
      const auto graph,
      BuildGraph(Find("vgg_16"), {.num_classes = 10, .height = 256, .width = 320}));
  ASSERT_OK_AND_ASSIGN(const auto pool, graph.EndPoint("global_pool"));
  EXPECT_EQ(graph.node(pool).shape, Shape({Shape::kAnyBatch, 1, 1, 4096}));
}

TEST(TrainingTest, StartsFromSlimsInitializersAndRegularizers) {
  struct Expected {
    const char* network;
    const char* variable;
    graph::InitializerPtr initializer;
    graph::RegularizerPtr regularizer;
  };
  using graph::Constant, graph::L2, graph::TruncatedNormal, graph::VarianceScaling, graph::Xavier;
  for (const Expected& expected : std::vector<Expected>{
           {"vgg_16", "vgg_16/conv1/conv1_1/weights", Xavier(), L2(0.0005f)},
           {"vgg_16", "vgg_16/fc8/weights", Xavier(), L2(0.0005f)},
           {"vgg_16", "vgg_16/fc8/biases", Constant(0), nullptr},
           {"alexnet_v2", "alexnet_v2/conv1/weights", Xavier(), L2(0.0005f)},
           {"alexnet_v2", "alexnet_v2/conv1/biases", Constant(0.1f), nullptr},
           {"alexnet_v2", "alexnet_v2/fc6/weights", TruncatedNormal(0.005f), L2(0.0005f)},
           {"alexnet_v2", "alexnet_v2/fc8/biases", Constant(0), nullptr},
           {"overfeat", "overfeat/conv1/biases", Constant(0), nullptr},
           {"overfeat", "overfeat/fc7/biases", Constant(0.1f), nullptr},
           {"cifarnet", "CifarNet/conv1/weights", TruncatedNormal(0.05f), nullptr},
           {"cifarnet", "CifarNet/fc3/weights", TruncatedNormal(0.04f), L2(0.004f)},
           {"cifarnet", "CifarNet/fc3/biases", Constant(0.1f), nullptr},
           {"cifarnet", "CifarNet/logits/weights", TruncatedNormal(1 / 192.0f), nullptr},
           {"lenet", "LeNet/fc3/weights", TruncatedNormal(0.1f), L2(0)},
           {"resnet_v1_50", "resnet_v1_50/conv1/weights", VarianceScaling(), L2(0.0001f)},
           {"resnet_v1_50", "resnet_v1_50/conv1/BatchNorm/gamma", Constant(1), nullptr},
           {"resnet_v2_50", "resnet_v2_50/logits/biases", Constant(0), nullptr},
           {"mobilenet_v1_100", "MobilenetV1/Conv2d_0/weights", TruncatedNormal(0.09f),
            L2(0.00004f)},
           {"mobilenet_v1_100", "MobilenetV1/Conv2d_1_depthwise/depthwise_weights",
            TruncatedNormal(0.09f), nullptr},
           {"mobilenet_v2_100", "MobilenetV2/expanded_conv/depthwise/depthwise_weights",
            TruncatedNormal(0.09f), nullptr},
           {"mobilenet_v2_100", "MobilenetV2/Logits/Conv2d_1c_1x1/weights", TruncatedNormal(0.09f),
            L2(0.00004f)}}) {
    const auto graph = BuildGraph(Find(expected.network), Find(expected.network).defaults);
    ASSERT_TRUE(graph.ok());
    const graph::Variable* variable = FindVariable(*graph, expected.variable);
    ASSERT_NE(variable, nullptr) << expected.variable;
    EXPECT_EQ(variable->initializer->name(), expected.initializer->name()) << expected.variable;
    ASSERT_EQ(variable->regularizer == nullptr, expected.regularizer == nullptr)
        << expected.variable;
    if (expected.regularizer != nullptr) {
      EXPECT_EQ(variable->regularizer->name(), expected.regularizer->name()) << expected.variable;
    }
  }
}

// The pooling layer that `name` is an end point of.
const graph::PoolOp& PoolingAt(const graph::Graph& graph, const std::string& name) {
  return std::get<graph::PoolOp>(graph.node(*graph.EndPoint(name)).op);
}

// slim.avg_pool2d(x, min(map, window), VALID), whose stride is 2: on a map that is one larger
// it sees the upper left window. On larger ones slim fails, and zood averages all.
TEST(HeadTest, PoolsTheWindowThatSlimPools) {
  struct Case {
    const char* network;
    int image;
    int map;
    int window;
  };
  for (const Case& c : {Case{"mobilenet_v1_025", 128, 4, 4},
                        {"mobilenet_v1_025", 224, 7, 7},
                        {"mobilenet_v1_025", 256, 8, 7},
                        {"mobilenet_v1_025", 288, 9, 9},
                        {"inception_v2", 224, 7, 7},
                        {"inception_v2", 256, 8, 7},
                        {"inception_v2", 288, 9, 9},
                        {"inception_v3", 299, 8, 8},
                        {"inception_v3", 331, 9, 8},
                        {"inception_v3", 363, 10, 10}}) {
    SCOPED_TRACE(std::string(c.network) + " at " + std::to_string(c.image));
    NetworkArgs args = Find(c.network).defaults;
    args.height = args.width = c.image;
    const auto graph = BuildGraph(Find(c.network), args);
    ASSERT_TRUE(graph.ok()) << graph.status();
    const std::string name = "AvgPool_1a";
    const graph::Node& node = graph->node(*graph->EndPoint(name));
    EXPECT_EQ(graph->node(node.inputs.front()).shape[1], c.map);
    EXPECT_EQ(PoolingAt(*graph, name).kernel, (graph::Size2d{c.window, c.window}));
    EXPECT_EQ(PoolingAt(*graph, name).padding, graph::Padding2d{});
    EXPECT_EQ(node.shape[1], 1);
    EXPECT_EQ(node.shape[2], 1);
  }
}

TEST(HeadTest, TheWindowMayBeLargerOnOneSideOnly) {
  NetworkArgs args = Find("mobilenet_v1_025").defaults;
  args.height = 256;
  args.width = 128;
  const auto graph = BuildGraph(Find("mobilenet_v1_025"), args);
  ASSERT_TRUE(graph.ok()) << graph.status();
  EXPECT_EQ(PoolingAt(*graph, "AvgPool_1a").kernel, (graph::Size2d{7, 4}));
}

TEST(LabelsTest, AreImageNetsWithAndWithoutBackground) {
  const auto plain = LabelsOf(LabelSet::kImageNet, 1000);
  const auto background = LabelsOf(LabelSet::kImageNetWithBackground, 1001);
  ASSERT_TRUE(plain.ok() && background.ok());
  EXPECT_EQ(plain->at(0), "tench, Tinca tinca");
  EXPECT_EQ(plain->at(999), "toilet tissue, toilet paper, bathroom tissue");
  EXPECT_EQ(background->at(0), "background");
  EXPECT_EQ(background->at(1000), plain->at(999));
  ASSERT_EQ(ImageNetClasses().size(), 1000u);
  EXPECT_EQ(ImageNetClasses()[281].wnid, "n02123045");
  EXPECT_EQ(ImageNetClasses()[281].name, "tabby, tabby cat");
}

TEST(LabelsTest, WordNetIdsBelongToImageNetsLabels) {
  std::vector<std::string> plain = *LabelsOf(LabelSet::kImageNet, 1000);
  EXPECT_EQ(ClassIds(plain).at(281), "n02123045");
  const std::vector<std::string> background = *LabelsOf(LabelSet::kImageNetWithBackground, 1001);
  EXPECT_EQ(ClassIds(background).at(0), "");
  EXPECT_EQ(ClassIds(background).at(282), "n02123045");
  for (std::string& label : plain)
    label = label.substr(0, label.find(','));  // as many lists have it
  plain[5] = "some other word";
  EXPECT_EQ(ClassIds(plain).at(281), "n02123045");
  std::ranges::reverse(plain);  // ImageNet's classes, in another order
  EXPECT_TRUE(ClassIds(plain).empty());
  EXPECT_TRUE(ClassIds(*LabelsOf(LabelSet::kNumbers, 1000)).empty());
  EXPECT_TRUE(ClassIds(std::vector<std::string>{"cat", "n0212304", "n02123045x"}).empty());
  EXPECT_EQ(ClassIds(std::vector<std::string>{"n02123045 tabby", "dog", "n02123046"}),
            (std::vector<std::string>{"n02123045", "", "n02123046"}));
}

TEST(LabelsTest, OfASetOfAnotherSizeAreAnError) {
  EXPECT_EQ(*LabelsOf(LabelSet::kNumbers, 3), (std::vector<std::string>{"0", "1", "2"}));
  EXPECT_EQ(LabelsOf(LabelSet::kCifar10, 10)->at(3), "cat");
  const auto wrong = LabelsOf(LabelSet::kImageNet, 1001);
  EXPECT_EQ(wrong.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(wrong.status().message()), AllOf(HasSubstr("1000"), HasSubstr("1001")));
}

}  // namespace
}  // namespace zood::models
