// Networks from Caffe's descriptions: shapes, rules and orders of axes that are Caffe's own.
#include "netdef/caffe/network.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/reader.h"
#include "engine/executable.h"
#include "graph/operations.h"
#include "netdef/caffe/net.h"
#include "tests/checkpoint/support/byte_mutation.h"
#include "tests/netdef/caffe_text.h"
#include "tests/support/outside_file.h"
#include "tests/support/status_testing.h"

namespace zood::netdef {
namespace {

using testing::AllOf;
using testing::HasSubstr;

// The same elements as Caffe has them, [channels, height, width].
std::vector<float> Chw(const Tensor& hwc) {
  const int order[] = {2, 0, 1};
  const Tensor chw = *Transpose(hwc, order);
  return {chw.values<float>().begin(), chw.values<float>().end()};
}

Shape ShapeOf(const CaffeNetwork& network, const std::string& blob) {
  const auto node = network.graph().EndPoint(blob);
  EXPECT_TRUE(node.ok()) << node.status();
  return node.ok() ? network.graph().node(*node).shape : Shape{};
}

TEST(CaffeNetworkTest, InnerProductReadsItsFeaturesInCaffesOrder) {
  for (const bool transpose : {false, true}) {
    ASSERT_OK_AND_ASSIGN(
        const auto network,
        Build(Input(3, 2, 4) +
              Layer("InnerProduct", "ip", "data",
                    fmt::format("inner_product_param {{ num_output: 5 transpose: {} }}",
                                transpose))));
    const Tensor image = Some({2, 4, 3});
    const Tensor weights = Some(transpose ? Shape{24, 5} : Shape{5, 24}, 0.9f);
    const Tensor bias = Some({5}, 2);
    const auto answer = Answer(network, {{"ip/0", weights}, {"ip/1", bias}}, image);
    ASSERT_EQ(answer.size(), 5u);
    const std::vector<float> features = Chw(image);
    for (std::size_t o = 0; o < 5; ++o) {
      double expected = bias.values<float>()[o];
      for (std::size_t i = 0; i < 24; ++i) {
        expected +=
            double{weights.values<float>()[transpose ? i * 5 + o : o * 24 + i]} * features[i];
      }
      EXPECT_NEAR(answer[o], expected, 1e-5);
    }
  }
}

TEST(CaffeNetworkTest, FlattenedMapsMayBeNormalizedAndJoined) {
  ASSERT_OK_AND_ASSIGN(
      const auto network,
      Build(Input(2, 3, 2) + Layer("Flatten", "flat", "data") +
            Layer("Scale", "scaled", "flat", "scale_param { bias_term: true }") +
            Layer("Pooling", "pool", "data", "pooling_param { pool: AVE global_pooling: true }") +
            Layer("Flatten", "pooled", "pool") +
            "layer { name: 'all' type: 'Concat' bottom: 'pooled' bottom: 'scaled' top: 'all' } " +
            Layer("InnerProduct", "ip", "all",
                  "inner_product_param { num_output: 2 bias_term: false }")));
  const Tensor image = Some({3, 2, 2});
  const Tensor gamma = Some({12}, 0.1f);
  const Tensor beta = Some({12}, 0.7f);
  const Tensor weights = Some({2, 14}, 1.1f);
  const auto answer =
      Answer(network, {{"scaled/0", gamma}, {"scaled/1", beta}, {"ip/0", weights}}, image);
  const std::vector<float> x = Chw(image);
  double expected = 0;
  for (std::size_t c = 0; c < 2; ++c) {
    double mean = 0;
    for (std::size_t i = 0; i < 6; ++i) mean += x[c * 6 + i] / 6;
    expected += weights.values<float>()[c] * mean;
  }
  for (std::size_t i = 0; i < 12; ++i) {
    expected += weights.values<float>()[2 + i] *
                (double{x[i]} * gamma.values<float>()[i] + beta.values<float>()[i]);
  }
  ASSERT_EQ(answer.size(), 2u);
  EXPECT_NEAR(answer[0], expected, 1e-5);
}

// Caffe's pooling written down from its documentation: one axis, one channel.
std::vector<double> AverageOfRow(const std::vector<float>& row, int kernel, int stride, int pad) {
  const int n = static_cast<int>(row.size());
  int outputs = (n + 2 * pad - kernel + stride - 1) / stride + 1;
  if (pad > 0 && (outputs - 1) * stride >= n + pad) --outputs;
  std::vector<double> result;
  for (int o = 0; o < outputs; ++o) {
    const int begin = o * stride - pad;
    const int end = std::min(begin + kernel, n + pad);
    double sum = 0;
    for (int i = std::max(begin, 0); i < std::min(end, n); ++i) sum += row[i];
    result.push_back(sum / (end - begin));
  }
  return result;
}

TEST(CaffeNetworkTest, PoolingRoundsUpAndDividesAsCaffeDoes) {
  for (int n = 3; n < 12; ++n) {
    for (int kernel = 1; kernel <= 3; ++kernel) {
      for (int stride = 1; stride <= kernel; ++stride) {
        for (int pad = 0; pad < kernel; ++pad) {
          SCOPED_TRACE(fmt::format("n {} kernel {} stride {} pad {}", n, kernel, stride, pad));
          ASSERT_OK_AND_ASSIGN(
              const auto network,
              Build(Input(1, 1, n) +
                    Layer("Pooling", "pool", "data",
                          fmt::format("pooling_param {{ pool: AVE kernel_h: 1 kernel_w: {} "
                                      "stride_h: 1 stride_w: {} pad_h: 0 pad_w: {} }}",
                                      kernel, stride, pad)) +
                    Layer("Flatten", "flat", "pool") +
                    "layer { name: 'twice' type: 'Concat' bottom: 'flat' bottom: 'flat' top: "
                    "'twice' } "));
          const Tensor image = Some({1, n, 1});
          const std::vector<float> row(image.values<float>().begin(), image.values<float>().end());
          const auto expected = AverageOfRow(row, kernel, stride, pad);
          const auto answer = Answer(network, {}, image);
          ASSERT_EQ(answer.size(), 2 * expected.size());
          for (std::size_t i = 0; i < expected.size(); ++i) {
            EXPECT_NEAR(answer[i], expected[i], 1e-6);
          }
        }
      }
    }
  }
}

TEST(CaffeNetworkTest, BatchNormAppliesTheFactor) {
  ASSERT_OK_AND_ASSIGN(
      const auto network,
      Build(Input(2, 1, 1) + Layer("BatchNorm", "bn", "data", "batch_norm_param { eps: 0.5 }")));
  const Tensor image = Values({1, 1, 2}, {3, 5});
  const TensorMap file = {
      {"bn/0", Values({2}, {2, 8})}, {"bn/1", Values({2}, {7, 14})}, {"bn/2", Values({1}, {4})}};
  const auto answer = Answer(network, file, image);
  ASSERT_EQ(answer.size(), 2u);
  EXPECT_NEAR(answer[0], (3 - 0.5) / std::sqrt(1.75 + 0.5), 1e-6);
  EXPECT_NEAR(answer[1], (5 - 2.0) / std::sqrt(3.5 + 0.5), 1e-6);
  TensorMap untrained = file;
  untrained.at("bn/2") = Values({1}, {0});
  EXPECT_NEAR(Answer(network, untrained, image)[0], 3 / std::sqrt(0.5), 1e-5);
  TensorMap without = file;
  without.erase("bn/2");
  EXPECT_THAT(std::string(network.MapWeights(without).status().message()), HasSubstr("bn/2"));
}

TEST(CaffeNetworkTest, ElementwiseLayersFollowCaffe) {
  ASSERT_OK_AND_ASSIGN(
      const auto network,
      Build(Input(2, 1, 1) +
            Layer("LRN", "lrn", "data", "lrn_param { local_size: 3 alpha: 6 beta: 0.5 k: 2 }") +
            Layer("ReLU", "leaky", "data", "relu_param { negative_slope: 0.25 }") +
            Layer("PReLU", "prelu", "data", "prelu_param { channel_shared: true }") +
            Layer("Power", "power", "data", "power_param { scale: 2 shift: 1 }") +
            Layer("Bias", "bias", "power") +
            "layer { name: 'sum' type: 'Eltwise' bottom: 'lrn' bottom: 'leaky' top: 'sum' "
            "eltwise_param { operation: SUM coeff: 2 coeff: -1 } } "
            "layer { name: 'max' type: 'Eltwise' bottom: 'sum' bottom: 'prelu' top: 'max' "
            "eltwise_param { operation: MAX } } "
            "layer { name: 'out' type: 'Eltwise' bottom: 'max' bottom: 'bias' top: 'out' "
            "eltwise_param { operation: PROD } } "));
  const double x[] = {-1, 2};
  const auto answer =
      Answer(network, {{"prelu/0", Values({1}, {3})}, {"bias/0", Values({2}, {10, 20})}},
             Values({1, 1, 2}, {-1, 2}));
  ASSERT_EQ(answer.size(), 2u);
  const double lrn = std::sqrt(2 + 6.0 / 3 * (1 + 4));
  for (int i = 0; i < 2; ++i) {
    const double leaky = x[i] < 0 ? 0.25 * x[i] : x[i];
    const double prelu = x[i] < 0 ? 3 * x[i] : x[i];
    const double sum = 2 * x[i] / lrn - leaky;
    EXPECT_NEAR(answer[i], std::max(sum, prelu) * (2 * x[i] + 1 + 10 * (i + 1)), 1e-5);
  }
}

TEST(CaffeNetworkTest, ConvolutionHasGroupsDilationAndPadding) {
  ASSERT_OK_AND_ASSIGN(
      const auto network,
      Build(Input(4, 9, 7) +
            Layer("Convolution", "conv", "data",
                  "convolution_param { num_output: 6 kernel_size: 3 pad: 1 stride: 2 dilation: 2 "
                  "group: 2 }") +
            "layer { name: 'relu' type: 'ReLU' bottom: 'conv' top: 'conv' } " +
            Layer("Pooling", "pool", "conv", "pooling_param { pool: MAX global_pooling: true }")));
  EXPECT_EQ(ShapeOf(network, "conv"), Shape({Shape::kAnyBatch, 4, 3, 6}));
  EXPECT_EQ(ShapeOf(network, "pool"), Shape({Shape::kAnyBatch, 1, 1, 6}));
  const auto conv = network.graph().EndPoint("conv");
  EXPECT_TRUE(std::holds_alternative<graph::ActivationOp>(network.graph().node(*conv).op));
  // Legacy files give a bias four axes.
  ASSERT_OK_AND_ASSIGN(const auto mapped, network.MapWeights({{"conv/0", Some({6, 2, 3, 3})},
                                                              {"conv/1", Some({1, 1, 1, 6})}}));
  EXPECT_EQ(mapped.weights.at("conv/weights").shape(), Shape({3, 3, 2, 6}));
  EXPECT_EQ(mapped.weights.at("conv/biases").shape(), Shape({6}));
}

TEST(CaffeNetworkTest, AnswersWhatGoesIntoTheSoftmax) {
  const std::string conv =
      Layer("Convolution", "conv", "data", "convolution_param { num_output: 3 kernel_size: 4 }");
  ASSERT_OK_AND_ASSIGN(const auto network,
                       Build(Input(1, 4, 4) + conv + Layer("Dropout", "drop", "conv") +
                             Layer("Softmax", "prob", "drop")));
  const graph::Graph& graph = network.graph();
  EXPECT_EQ(graph.node(graph.logits()).shape, Shape({Shape::kAnyBatch, 3}));
  EXPECT_EQ(ShapeOf(network, "prob"), Shape({Shape::kAnyBatch, 1, 1, 3}));
  EXPECT_TRUE(graph.EndPoint("data").ok());
  ASSERT_OK_AND_ASSIGN(const auto trained, Build(Input(1, 4, 4) + conv +
                                                 "layer { name: 'loss' type: 'SoftmaxWithLoss' "
                                                 "bottom: 'conv' bottom: 'label' top: 'loss' }"));
  EXPECT_EQ(trained.graph().node(trained.graph().logits()).shape, Shape({Shape::kAnyBatch, 3}));
}

TEST(CaffeNetworkTest, AccountsForEveryBlob) {
  ASSERT_OK_AND_ASSIGN(const auto network,
                       Build(Input(1, 4, 4) + Layer("InnerProduct", "ip", "data",
                                                    "inner_product_param { num_output: 2 }")));
  const TensorMap file = {{"ip/0", Some({2, 16})}, {"ip/1", Some({2})}};
  const auto message = [&](const TensorMap& changed) {
    const auto mapped = network.MapWeights(changed);
    EXPECT_EQ(mapped.status().code(), kInvalid);
    return std::string(mapped.status().message());
  };
  TensorMap changed = file;
  changed.erase("ip/1");
  EXPECT_THAT(message(changed), HasSubstr("1 missing: ip/biases [2]"));
  changed = file;
  changed.at("ip/0") = Some({2, 15});
  EXPECT_THAT(message(changed), HasSubstr("ip/0 (expected [2,16], found [2,15])"));
  changed = file;
  changed.emplace("ip/2", Some({1}));
  EXPECT_THAT(message(changed), HasSubstr("unknown: ip/2 [1]"));
  changed = file;
  changed.emplace("loss1/classifier/0", Some({1}));
  ASSERT_OK_AND_ASSIGN(const auto mapped, network.MapWeights(changed));
  ASSERT_EQ(mapped.ignored.size(), 1u);
  EXPECT_EQ(mapped.ignored[0].variable, "loss1/classifier/0");
}

TEST(CaffeNetworkTest, NamesTheLayerThatIsWrongOrUnsupported) {
  const std::string input = Input(4, 8, 8);
  EXPECT_THAT(ErrorOf(input + Layer("ReLU", "r", "nowhere"), kInvalid),
              AllOf(HasSubstr("'r'"), HasSubstr("'nowhere'")));
  EXPECT_THAT(ErrorOf(input + Layer("Deconvolution", "up", "data",
                                    "convolution_param { num_output: 1 kernel_size: 2 }"),
                      kUnimplemented),
              AllOf(HasSubstr("'up'"), HasSubstr("Deconvolution")));
  EXPECT_THAT(ErrorOf(input + Layer("ShuffleChannel", "odd", "data"), kUnimplemented),
              HasSubstr("ShuffleChannel"));
  EXPECT_THAT(ErrorOf(input + Layer("Convolution", "c", "data",
                                    "convolution_param { num_output: 4 kernel_size: 9 }"),
                      kInvalid),
              HasSubstr("c: "));
  EXPECT_THAT(ErrorOf(input + Layer("Convolution", "c", "data",
                                    "convolution_param { num_output: 6 kernel_size: 1 group: 3 }"),
                      kInvalid),
              HasSubstr("groups"));
  EXPECT_THAT(ErrorOf(input + Layer("Pooling", "p", "data",
                                    "pooling_param { pool: STOCHASTIC kernel_size: 2 }"),
                      kUnimplemented),
              HasSubstr("'p'"));
  EXPECT_THAT(ErrorOf(input, kInvalid), HasSubstr("no layers"));
  EXPECT_THAT(ErrorOf(input + Layer("ReLU", "r", "data"), kInvalid), HasSubstr("[?,8,8,4]"));
  EXPECT_THAT(ErrorOf(input + Layer("Flatten", "f", "data"), kUnimplemented),
              HasSubstr("flattened"));
  EXPECT_THAT(ErrorOf(Layer("ReLU", "r", "data"), kInvalid), HasSubstr("0 inputs"));
  EXPECT_THAT(ErrorOf(Input(4, 8, 1 << 20) + Layer("ReLU", "r", "data"), kInvalid),
              HasSubstr("input 'data'"));
}

// A few hundred bytes that would compute for minutes cost more than any network that is meant.
TEST(CaffeNetworkTest, PoolingIsCounted) {
  const auto cost = [](const std::string& parameters) {
    const auto network =
        Build(Input(3, 1200, 1200) +
              Layer("Pooling", "pool", "data", fmt::format("pooling_param {{ {} }}", parameters)) +
              Classifier("pool", 2));
    EXPECT_TRUE(network.ok()) << network.status();
    return network.ok() ? graph::CountOperations(network->graph()) : 0;
  };
  constexpr double kMostOfAnImport = 1e12;
  EXPECT_GT(cost("pool: MAX kernel_size: 800 stride: 1 pad: 0"), kMostOfAnImport);
  EXPECT_GT(cost("pool: AVE kernel_size: 800 stride: 1 pad: 399"), kMostOfAnImport);
  EXPECT_GT(cost("pool: AVE kernel_h: 1200 kernel_w: 20 stride: 1 pad_h: 1199"), kMostOfAnImport);
  EXPECT_LT(cost("pool: AVE kernel_size: 8 stride: 8"), kMostOfAnImport / 100);
}

TEST(CaffeNetworkTest, DoublingABlobEndsInAnError) {
  std::string text = Input(2, 4, 4) + Layer("Flatten", "b0", "data");
  for (int i = 0; i < 4000; ++i) {
    text += fmt::format(
        "layer {{ name: 'b{}' type: 'Concat' bottom: 'b{}' bottom: 'b{}' top: "
        "'b{}' }} ",
        i + 1, i, i, i + 1);
  }
  EXPECT_THAT(ErrorOf(text, kUnimplemented), HasSubstr("'b9'"));
}

// Damaged descriptions are networks, or say what is wrong, before anything is allocated for them.
TEST(DamagedNetworkTest, IsANetworkOrSaysWhatIsWrong) {
  std::ifstream file(std::string(ZOOD_TEST_DATA) + "/caffe/deploy.prototxt");
  const std::string original(std::istreambuf_iterator<char>(file), {});
  checkpoint::Random random(7);
  int built = 0, refused = 0;
  for (int round = 0; round < 400; ++round) {
    SCOPED_TRACE(round);
    std::string text = original;
    if (round % 4 == 0) {
      checkpoint::DamageRandomly(random, text);
    } else {  // numbers are what shapes are made of
      const std::size_t at =
          text.find_first_of("0123456789", checkpoint::RandomBelow(random, text.size()));
      if (at == std::string::npos) continue;
      text.replace(at, 1, round % 4 == 1 ? "65535" : std::to_string(random() % 30));
    }
    const auto definition = ParseCaffeText(text, "x");
    if (!definition.ok()) continue;
    const auto network = CaffeNetwork::Build(*definition);
    if (!network.ok()) {
      ++refused;
      EXPECT_TRUE(absl::IsInvalidArgument(network.status()) ||
                  absl::IsUnimplemented(network.status()))
          << network.status();
      continue;
    }
    ++built;
    EXPECT_GT(graph::CountOperations(network->graph()), 0);
    EXPECT_GT(engine::EstimateMemory(network->graph(), {.batch_sizes = {1}}).execution_bytes, 0u);
  }
  EXPECT_GT(built, 50);
  EXPECT_GT(refused, 50);
}

// Yahoo's open_nsfw, where it is at hand: a ResNet-50 with half the channels.
TEST(CaffeNetworkTest, BuildsAPublishedNetwork) {
  ZOOD_OUTSIDE_FILE(description, "ZOOD_MODELS_DIR", "open_nsfw/deploy.prototxt");
  ZOOD_OUTSIDE_FILE(weights, "ZOOD_MODELS_DIR", "open_nsfw/resnet_50_1by2_nsfw.caffemodel");
  std::ifstream file(description);
  const std::string text(std::istreambuf_iterator<char>(file), {});
  ASSERT_OK_AND_ASSIGN(const auto network, Build(text));
  EXPECT_EQ(network.graph().node(network.graph().logits()).shape, Shape({Shape::kAnyBatch, 2}));
  ASSERT_OK_AND_ASSIGN(const auto reader, checkpoint::Open(FileSystem::Native(), weights));
  ASSERT_OK_AND_ASSIGN(const auto mapped, network.MapWeights(*reader->ReadAll()));
  EXPECT_TRUE(network.graph().CheckWeights(mapped.weights).ok());
}

}  // namespace
}  // namespace zood::netdef
