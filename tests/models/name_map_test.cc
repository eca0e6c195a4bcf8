// From files to networks: names of TensorFlow and PyTorch, orders of axes, and the ways not to fit.
//
// data/zoo/pytorch/<network>.txt lists the variables of a published PyTorch file and their shapes.
#include "models/weights/name_map.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <numeric>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "checkpoint/reader.h"
#include "checkpoint/variable_role.h"
#include "models/weights/weight_layout.h"
#include "models/zoo.h"
#include "tests/support/outside_file.h"
#include "tests/support/status_testing.h"

namespace zood::models {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

const Architecture& Find(std::string_view name) {
  static const Zoo* const zoo = new Zoo(Zoo::Standard());
  return **zoo->Find(name);
}

// 0, 1, 2, ...
Tensor Ramp(const Shape& shape) {
  std::vector<float> values(static_cast<std::size_t>(shape.num_elements()));
  std::iota(values.begin(), values.end(), 0.0f);
  return *Tensor::FromVector(shape, std::move(values));
}

TensorMap FileOf(const graph::Graph& graph) {
  TensorMap file;
  for (const graph::Variable& variable : graph.variables()) {
    file.emplace(variable.name, Ramp(variable.shape));
  }
  return file;
}

std::string MessageOf(const absl::StatusOr<MappedWeights>& mapped) {
  EXPECT_EQ(mapped.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(mapped.status().message());
}

std::map<std::string, std::string> Reasons(const MappedWeights& mapped) {
  std::map<std::string, std::string> reasons;
  for (const auto& ignored : mapped.ignored) reasons[ignored.variable] = ignored.reason;
  return reasons;
}

class LeNetTest : public testing::Test {
 protected:
  absl::StatusOr<MappedWeights> Map(const TensorMap& file) const {
    return MapWeights(architecture_, graph_, file);
  }

  const Architecture& architecture_ = Find("lenet");
  const NetworkArgs args_{.num_classes = 10, .height = 12, .width = 12, .channels = 1};
  const graph::Graph graph_ = *BuildGraph(architecture_, args_);
  TensorMap file_ = FileOf(graph_);
};

TEST_F(LeNetTest, TakesTensorFlowsNamesAsTheyAre) {
  ASSERT_OK_AND_ASSIGN(const auto mapped, Map(file_));
  EXPECT_TRUE(graph_.CheckWeights(mapped.weights).ok());
  EXPECT_TRUE(mapped.ignored.empty());
  EXPECT_EQ(mapped.weights.at("LeNet/fc4/biases").values<float>()[9], 9);
}

TEST_F(LeNetTest, ReadsACheckpointOfTensorFlow) {
  for (const char* name : {"lenet12_v1.ckpt", "lenet12_v2.ckpt"}) {
    ASSERT_OK_AND_ASSIGN(
        const auto reader,
        checkpoint::Open(FileSystem::Native(), std::string(ZOOD_TEST_DATA "/ckpt/") + name));
    ASSERT_OK_AND_ASSIGN(const auto mapped, MapWeights(architecture_, graph_, *reader->ReadAll()));
    EXPECT_EQ(mapped.weights.size(), 8u);
  }
}

TEST_F(LeNetTest, IgnoresWhatIsKnownToBeBesideTheNetwork) {
  file_.emplace("global_step", *Tensor::FromVector<std::int64_t>({}, {5}));
  file_.emplace("beta1_power", Ramp({}));
  file_.emplace("LeNet/mean_rgb", Ramp({3}));
  file_.emplace("LeNet/fc4/biases/Momentum", Ramp({10}));
  file_.emplace("LeNet/fc4/biases/ExponentialMovingAverage", Ramp({10}));
  ASSERT_OK_AND_ASSIGN(const auto mapped,
                       MapWeights(architecture_, graph_, file_, {.prefer_moving_averages = false}));
  EXPECT_EQ(mapped.weights.size(), 8u);
  const auto reasons = Reasons(mapped);
  EXPECT_EQ(reasons.size(), 5u);
  EXPECT_THAT(reasons.at("LeNet/fc4/biases/Momentum"),
              AllOf(HasSubstr("slot"), HasSubstr("of LeNet/fc4/biases")));
  EXPECT_THAT(reasons.at("LeNet/fc4/biases/ExponentialMovingAverage"), HasSubstr("average"));
  EXPECT_THAT(reasons.at("LeNet/mean_rgb"), HasSubstr("mean"));
}

TEST_F(LeNetTest, ConvertsOtherNumbersToFloat32) {
  file_.at("LeNet/fc4/biases") =
      *Tensor::FromVector<double>({10}, {0, 0.5, 2, 3, 4, 5, 6, 7, 8, 9});
  ASSERT_OK_AND_ASSIGN(const auto mapped, Map(file_));
  EXPECT_EQ(mapped.weights.at("LeNet/fc4/biases").values<float>()[1], 0.5f);
  EXPECT_THAT(mapped.converted, testing::ElementsAre(std::pair(DType::kFloat64, 1)));
  file_.at("LeNet/fc4/biases") = *Tensor::Strings({10}, std::vector<std::string>(10, "x"));
  EXPECT_THAT(MessageOf(Map(file_)), HasSubstr("LeNet/fc4/biases"));
}

TEST_F(LeNetTest, NamesWhatIsMissing) {
  file_.erase("LeNet/conv2/weights");
  EXPECT_THAT(MessageOf(Map(file_)),
              AllOf(HasSubstr("lenet"), HasSubstr("1 missing: LeNet/conv2/weights [5,5,32,64]")));
}

TEST_F(LeNetTest, NamesWhatIsUnknown) {
  file_.emplace("LeNet/conv3/weights", Ramp({2, 3}));
  EXPECT_THAT(MessageOf(Map(file_)),
              AllOf(HasSubstr("1 unknown: LeNet/conv3/weights [2,3]"), HasSubstr("--leave-aside")));
  for (int i = 0; i < 9; ++i) file_.emplace("LeNet/x\n" + std::to_string(i), Ramp({2}));
  EXPECT_THAT(MessageOf(Map(file_)),
              AllOf(HasSubstr("10 unknown"), HasSubstr("and 5 more"), Not(HasSubstr("\n"))));
  const std::vector<std::string> patterns = {"LeNet/(conv3|x)"};
  ASSERT_OK_AND_ASSIGN(const auto mapped,
                       MapWeights(architecture_, graph_, file_,
                                  {.leave_aside = *NamePatterns::Create("x", patterns)}));
  EXPECT_EQ(mapped.ignored.size(), 10u);
}

// Whatever training keeps under whatever name, as long as no layer could have it.
TEST_F(LeNetTest, LeavesAsideWhatNoLayerHas) {
  const std::vector<std::string> beside = {"LeNet/conv1/weights/adam_m",
                                           "LeNet/conv1/weights/LARSOptimizer_7",
                                           "LeNet/fc4/biases/.OPTIMIZER_SLOT/opt/v",
                                           "Adam/LeNet/fc4/weights",
                                           "current_loss_scale",
                                           "good_steps",
                                           "zz/extra",
                                           "LeNet/steps",
                                           "lookup/table"};
  file_.emplace(beside[0], Ramp({5, 5, 1, 32}));
  file_.emplace(beside[1], Ramp({5, 5, 1, 32}));
  file_.emplace(beside[2], Ramp({10}));
  file_.emplace(beside[3], Ramp({1024, 10}));
  file_.emplace(beside[4], Ramp({}));
  file_.emplace(beside[5], *Tensor::FromVector<std::int64_t>({}, {5}));
  file_.emplace(beside[6], Ramp({3}));
  file_.emplace(beside[7], *Tensor::FromVector<std::int64_t>({2}, {5, 6}));
  file_.emplace(beside[8], *Tensor::Strings({2}, {"a", "b"}));
  ASSERT_OK_AND_ASSIGN(const auto mapped, Map(file_));
  EXPECT_EQ(mapped.weights.size(), 8u);
  const auto reasons = Reasons(mapped);
  EXPECT_EQ(reasons.size(), beside.size());
  EXPECT_EQ(reasons.at(beside[1]), "state of LeNet/conv1/weights");
  EXPECT_THAT(reasons.at("zz/extra"), HasSubstr("outside of the network's scope 'LeNet/'"));
}

// Every slot has the shape of its variable: a second network, if names did not distinguish them.
TEST_F(LeNetTest, TakesNoOptimizerForTheNetwork) {
  TensorMap file = file_;
  for (const auto& [name, tensor] : file_) file.emplace("Momentum/" + name, Ramp(tensor.shape()));
  file.at("LeNet/fc4/biases") = *Tensor::FromVector<float>({10}, std::vector<float>(10, 7));
  ASSERT_OK_AND_ASSIGN(const auto mapped, Map(file));
  EXPECT_EQ(mapped.prefix, "");
  EXPECT_EQ(mapped.weights.at("LeNet/fc4/biases").values<float>()[0], 7);
}

TEST_F(LeNetTest, FindsTheNetworkBehindAnyScope) {
  for (const std::string prefix : {"model/", "tower_0/net/", "module."}) {
    TensorMap file;
    for (const auto& [name, tensor] : file_) file.emplace(prefix + name, tensor);
    file.emplace("head/weights", Ramp({3, 4}));
    ASSERT_OK_AND_ASSIGN(const auto mapped, Map(file));
    EXPECT_EQ(mapped.prefix, prefix);
    EXPECT_EQ(mapped.naming, "TensorFlow");
    EXPECT_THAT(Reasons(mapped).at("head/weights"), HasSubstr("outside of"));
  }
}

TEST_F(LeNetTest, NamesWhatHasAnotherShape) {
  file_.at("LeNet/conv1/weights") = Ramp({5, 5, 3, 32});
  EXPECT_THAT(MessageOf(Map(file_)),
              HasSubstr("LeNet/conv1/weights (expected [5,5,1,32], found [5,5,3,32])"));
}

TEST_F(LeNetTest, SaysForHowManyClassesTheFileIs) {
  file_.at("LeNet/fc4/weights") = Ramp({1024, 47});
  file_.at("LeNet/fc4/biases") = Ramp({47});
  EXPECT_THAT(MessageOf(Map(file_)),
              AllOf(HasSubstr("classifier is for 47 classes"), HasSubstr("--classes 47")));
  file_.at("LeNet/conv1/biases") = Ramp({1});
  EXPECT_THAT(MessageOf(Map(file_)), Not(HasSubstr("classifier")));
}

TEST_F(LeNetTest, LeavesTheClassifierOutOfANetworkWithoutOne) {
  NetworkArgs args = args_;
  args.num_classes = 0;
  const auto features = BuildGraph(architecture_, args);
  ASSERT_OK_AND_ASSIGN(const auto mapped, MapWeights(architecture_, *features, file_));
  EXPECT_EQ(mapped.weights.size(), 6u);
  EXPECT_THAT(Reasons(mapped).at("LeNet/fc4/weights"), HasSubstr("without"));
}

TEST_F(LeNetTest, SuspectsAFileOfAnotherNetwork) {
  EXPECT_THAT(MessageOf(Map({{"vgg_16/fc8/biases", Ramp({1000})}})), HasSubstr("another one?"));
}

TEST_F(LeNetTest, HasNoNamesForOtherFrameworks) {
  EXPECT_THAT(MessageOf(Map({{"conv1/0", Ramp({1})}, {"conv1/1", Ramp({1})}})),
              HasSubstr(".prototxt"));
  EXPECT_THAT(MessageOf(Map({{"a.conv1.weight", Ramp({2})}})), HasSubstr("PyTorch"));
}

// A checkpoint of a training run, with slots and moving averages.
TEST(TrainedTest, TakesTheMovingAverages) {
  const Architecture tiny{
      .name = "tiny",
      .scope = "TinyNet",
      .head_scopes = {"TinyNet/logits"},
      .build = [](graph::Net& net, const NetworkArgs& args) -> Architecture::Outputs {
        const auto scope = net.Scope("TinyNet");
        graph::Value x =
            net.Conv2d(net.input(), 8, {3, 3},
                       {.normalizer = graph::BatchNorm({.scale = true}), .scope = "conv1"});
        x = net.Squeeze(net.GlobalAvgPool(x));
        return {.logits = net.FullyConnected(x, args.num_classes, {.scope = "logits"})};
      },
      .preprocess = Find("lenet").preprocess};
  ASSERT_OK_AND_ASSIGN(const auto graph,
                       BuildGraph(tiny, {.num_classes = 5, .height = 8, .width = 8}));
  for (const char* name :
       {"trained_adam_v1.ckpt", "trained_adam_v2.ckpt", "trained_momentum_v2.ckpt",
        "trained_rmsprop_v2.ckpt", "trained_ftrl_v2.ckpt", "trained_adagrad_v2.ckpt",
        "trained_adadelta_v2.ckpt"}) {
    SCOPED_TRACE(name);
    ASSERT_OK_AND_ASSIGN(
        const auto reader,
        checkpoint::Open(FileSystem::Native(), std::string(ZOOD_TEST_DATA "/ckpt/") + name));
    ASSERT_OK_AND_ASSIGN(const auto raw, MapWeights(tiny, graph, *reader->ReadAll()));
    EXPECT_EQ(raw.weights.size() + raw.ignored.size(), reader->variables().size());
    ASSERT_OK_AND_ASSIGN(const auto averages,
                         MapWeights(tiny, graph, *checkpoint::ReadAll(*reader, {})));
    const auto shadow = reader->Read("TinyNet/logits/biases/ExponentialMovingAverage");
    if (!shadow.ok()) continue;
    EXPECT_THAT(averages.weights.at("TinyNet/logits/biases").values<float>(),
                testing::ElementsAreArray(shadow->values<float>()));
  }
}

TEST(WeightLayoutTest, PutsEveryElementWhereItBelongs) {
  const Tensor conv = *FromLayout(WeightLayout::kConv, Ramp({4, 3, 2, 5}), {2, 5, 3, 4});
  EXPECT_EQ(conv.shape(), Shape({2, 5, 3, 4}));
  // [out 3][in 2][row 1][column 4], that is ((3 * 3 + 2) * 2 + 1) * 5 + 4.
  EXPECT_EQ(conv.values<float>()[((1 * 5 + 4) * 3 + 2) * 4 + 3], 119);
  EXPECT_EQ(conv.values<float>()[1], 30);

  const Tensor depthwise = *FromLayout(WeightLayout::kDepthwise, Ramp({6, 1, 2, 5}), {2, 5, 3, 2});
  // Output channel 2 * multiplier 2 + 1, row 1, column 3.
  EXPECT_EQ(depthwise.values<float>()[((1 * 5 + 3) * 3 + 2) * 2 + 1], (5 * 2 + 1) * 5 + 3);

  const Tensor linear = *FromLayout(WeightLayout::kLinear, Ramp({2, 3}), {3, 2});
  EXPECT_THAT(linear.values<float>(), testing::ElementsAre(0, 3, 1, 4, 2, 5));
  EXPECT_FALSE(FromLayout(WeightLayout::kLinear, Ramp({3, 2}), {3, 2}).ok());
}

TensorMap ListedFile(const std::string& network) {
  TensorMap file;
  std::ifstream list(ZOOD_TEST_DATA "/zoo/pytorch/" + network + ".txt");
  EXPECT_TRUE(list.is_open()) << network;
  for (std::string line; std::getline(list, line);) {
    const std::size_t tab = line.find('\t');
    std::vector<std::int64_t> dims;
    std::istringstream extents(line.substr(tab + 1));
    for (std::string extent; std::getline(extents, extent, ',');) {
      dims.push_back(std::stoll(extent));
    }
    file.emplace(line.substr(0, tab), Ramp(Shape(dims)));
  }
  return file;
}

class PyTorchTest : public testing::TestWithParam<std::string> {
 protected:
  const Architecture& architecture_ = Find(GetParam());
  const graph::Graph graph_ = *BuildGraph(architecture_, architecture_.defaults);
  TensorMap file_ = ListedFile(GetParam());
};

TEST_P(PyTorchTest, PlacesEveryModule) {
  ASSERT_OK_AND_ASSIGN(const auto mapped, MapWeights(architecture_, graph_, file_));
  EXPECT_TRUE(graph_.CheckWeights(mapped.weights).ok());
  EXPECT_EQ(mapped.weights.size() + mapped.ignored.size(), file_.size());
  for (const auto& ignored : mapped.ignored) {
    EXPECT_THAT(ignored.variable, testing::EndsWith(".num_batches_tracked"));
  }
}

TEST_P(PyTorchTest, NamesWhatDoesNotFitAsTheFileHasIt) {
  file_.emplace("layer9.0.conv1.weight", Ramp({2}));
  file_.emplace("_blocks.99._bn1.weight", Ramp({2}));
  file_.emplace("nonsense", Ramp({2}));
  EXPECT_THAT(MessageOf(MapWeights(architecture_, graph_, file_)),
              AllOf(HasSubstr("3 unknown"), HasSubstr("layer9.0.conv1.weight"),
                    HasSubstr("_blocks.99._bn1.weight"), HasSubstr("nonsense")));
}

TEST_P(PyTorchTest, SaysForHowManyClassesTheFileIs) {
  NetworkArgs args = architecture_.defaults;
  args.num_classes = 3;
  const auto graph = BuildGraph(architecture_, args);
  EXPECT_THAT(MessageOf(MapWeights(architecture_, *graph, file_)),
              HasSubstr(fmt::format("for {} classes", architecture_.defaults.num_classes)));
}

INSTANTIATE_TEST_SUITE_P(NameMap, PyTorchTest,
                         testing::Values("efficientnet_lite0", "cifar_resnet20", "cifar_resnet56"),
                         [](const auto& network) { return network.param; });

TEST(PyTorchRulesTest, UnitsAndConvolutionsKeepTheirPlaces) {
  const Architecture& architecture = Find("cifar_resnet20");
  const auto graph = BuildGraph(architecture, architecture.defaults);
  TensorMap file = ListedFile("cifar_resnet20");
  file.at("layer2.1.bn2.running_var") =
      *Tensor::FromVector<float>({32}, std::vector<float>(32, 7.0f));
  ASSERT_OK_AND_ASSIGN(const auto mapped, MapWeights(architecture, *graph, file));
  int sevens = 0;
  for (const auto& [name, tensor] : mapped.weights) {
    if (tensor.values<float>()[0] == 7.0f) ++sevens;
  }
  EXPECT_EQ(sevens, 1);
  EXPECT_EQ(mapped.weights.at("cifar_resnet20/block2/unit_2/conv2/BatchNorm/moving_variance")
                .values<float>()[31],
            7.0f);
}

// Published files, where they are at hand.
class PublishedTest : public testing::TestWithParam<std::pair<const char*, const char*>> {};

TEST_P(PublishedTest, FitsItsNetwork) {
  const auto& [network, file] = GetParam();
  ZOOD_OUTSIDE_FILE(path, "ZOOD_MODELS_DIR", file);
  ASSERT_OK_AND_ASSIGN(const auto reader, checkpoint::Open(FileSystem::Native(), path));
  ASSERT_OK_AND_ASSIGN(const auto weights, reader->ReadAll());
  const Architecture& architecture = Find(network);
  const auto graph = BuildGraph(architecture, architecture.defaults);
  ASSERT_OK_AND_ASSIGN(const auto mapped, MapWeights(architecture, *graph, weights));
  EXPECT_EQ(mapped.weights.size() + mapped.ignored.size(), weights.size());
}

INSTANTIATE_TEST_SUITE_P(
    NameMap, PublishedTest,
    testing::Values(std::pair("efficientnet_lite0",
                              "efficientnet_lite0/efficientnet-lite0-57934424.pth"),
                    std::pair("cifar_resnet20", "cifar_resnet/resnet20-12fca82f.th"),
                    std::pair("cifar_resnet56", "cifar_resnet/resnet56-4bfd9763.th"),
                    std::pair("lenet", "fashion_lenet/lenet_fashion.ckpt")));

}  // namespace
}  // namespace zood::models
