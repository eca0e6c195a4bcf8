// What a Caffe network answers, and what its numbers are.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/netdef/caffe_text.h"
#include "tests/support/status_testing.h"

namespace zood::netdef {
namespace {

using graph::OutputKind;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

const std::string kNetwork = Input(2, 3, 3) + Classifier("data", 4);

// The end point whose value is the network's logits.
std::string LogitsOf(const CaffeNetwork& network) {
  const graph::Graph& graph = network.graph();
  for (const auto& [name, id] : graph.end_points()) {
    if (id == graph.logits()) return name;
  }
  return "";
}

struct Ending {
  std::string layers;  // behind `fc`, 4 features
  OutputKind kind;
  std::string logits;
};

std::string InPlace(const std::string& type, const std::string& blob) {
  return fmt::format("layer {{ name: 'in_place' type: '{}' bottom: '{}' top: '{}' }} ", type, blob,
                     blob);
}

TEST(CaffeOutputsTest, SoftmaxIsForLogitsAlone) {
  const std::string softmax = Layer("Softmax", "prob", "fc");
  const std::string sigmoid = Layer("Sigmoid", "prob", "fc");
  const std::string half = "eltwise_param { coeff: 0.5 coeff: 0.5 }";
  const std::string second = Classifier("data", 4, "other") + Layer("Softmax", "prob2", "other");
  const Ending endings[] = {
      {"", OutputKind::kLogits, "fc"},
      {Layer("Dropout", "d", "fc"), OutputKind::kLogits, "d"},
      {Layer("TanH", "t", "fc"), OutputKind::kLogits, "t"},
      {softmax, OutputKind::kLogits, "fc"},
      {softmax + InPlace("Dropout", "prob"), OutputKind::kLogits, "fc"},
      {softmax + Layer("Reshape", "r", "prob", "reshape_param { shape { dim: 0 dim: -1 } }"),
       OutputKind::kLogits, "fc"},
      {softmax + "layer { name: 's' type: 'Split' bottom: 'prob' top: 'a' top: 'b' }",
       OutputKind::kLogits, "fc"},
      {softmax + Layer("Flatten", "f", "prob") + Layer("Dropout", "d", "f"), OutputKind::kLogits,
       "fc"},
      {softmax + Layer("ReLU", "r", "prob"), OutputKind::kLogits, "fc"},
      {softmax + Layer("Power", "p", "prob"), OutputKind::kLogits, "fc"},
      {softmax + Layer("Clip", "c", "prob", "clip_param { min: 0 max: 1 }"), OutputKind::kLogits,
       "fc"},
      {softmax + Layer("Concat", "c", "prob"), OutputKind::kLogits, "fc"},
      {softmax + "layer { name: 'a' type: 'Accuracy' bottom: 'prob' bottom: 'label' top: 'a' }",
       OutputKind::kLogits, "fc"},
      {softmax + Layer("ArgMax", "best", "prob"), OutputKind::kLogits, "fc"},
      {softmax + Classifier("data", 9, "side") + "layer { type: 'Silence' bottom: 'side' }",
       OutputKind::kLogits, "fc"},
      {sigmoid, OutputKind::kIndependentLogits, "fc"},
      {sigmoid + InPlace("Dropout", "prob"), OutputKind::kIndependentLogits, "fc"},
      {sigmoid + Layer("Flatten", "f", "prob"), OutputKind::kIndependentLogits, "fc"},
      {Layer("Power", "p", "fc", "power_param { scale: 3 shift: 1 }"), OutputKind::kLogits, "p"},
      // Made by layers that are no softmax themselves.
      {softmax + second +
           "layer { name: 'mean' type: 'Eltwise' bottom: 'prob' bottom: 'prob2' "
           "top: 'mean' " +
           half + " }",
       OutputKind::kProbabilities, "mean"},
      {sigmoid + second +
           "layer { name: 'both' type: 'Concat' bottom: 'prob' bottom: 'prob2' "
           "top: 'both' }",
       OutputKind::kIndependentProbabilities, "both"},
      {sigmoid + second +
           "layer { name: 'p' type: 'Eltwise' bottom: 'prob' bottom: 'prob2' "
           "top: 'p' eltwise_param { operation: PROD } }",
       OutputKind::kIndependentProbabilities, "p"},
      {Layer("Clip", "c", "fc", "clip_param { min: 0 max: 1 }"),
       OutputKind::kIndependentProbabilities, "c"},
      // Gates and hidden sigmoids make features, not probabilities.
      {sigmoid + "layer { name: 'gate' type: 'Eltwise' bottom: 'fc' bottom: 'prob' top: 'gate' "
                 "eltwise_param { operation: PROD } }",
       OutputKind::kLogits, "gate"},
      {sigmoid + Classifier("prob", 3, "fc2"), OutputKind::kLogits, "fc2"},
      {softmax + Classifier("prob", 3, "fc2") + Layer("Sigmoid", "out", "fc2"),
       OutputKind::kIndependentLogits, "fc2"},
  };
  for (const Ending& ending : endings) {
    SCOPED_TRACE(ending.layers);
    ASSERT_OK_AND_ASSIGN(const auto network, Build(kNetwork + ending.layers));
    EXPECT_EQ(graph::Name(network.output_kind()), graph::Name(ending.kind));
    EXPECT_EQ(LogitsOf(network), ending.logits);
  }
}

TEST(CaffeOutputsTest, AMapOfOnePixelHoldsClasses) {
  const std::string conv =
      Input(2, 5, 5) +
      Layer("Convolution", "conv", "data", "convolution_param { num_output: 3 kernel_size: 5 }");
  const std::string pool = "pooling_param { pool: AVE global_pooling: true }";
  for (const std::string& ending :
       {std::string(), Layer("Softmax", "prob", "conv"),
        Layer("Softmax", "prob", "conv") + Layer("Flatten", "flat", "prob"),
        Layer("Softmax", "prob", "conv") + Layer("Pooling", "pool", "prob", pool)}) {
    ASSERT_OK_AND_ASSIGN(const auto network, Build(conv + ending));
    EXPECT_EQ(network.output_kind(), OutputKind::kLogits);
    EXPECT_EQ(network.graph().node(network.graph().logits()).shape, Shape({Shape::kAnyBatch, 3}));
  }
  // The mean of the pixels' distributions is a distribution.
  const std::string map =
      Input(2, 5, 5) +
      Layer("Convolution", "conv", "data", "convolution_param { num_output: 3 kernel_size: 3 }");
  ASSERT_OK_AND_ASSIGN(const auto mean, Build(map + Layer("Softmax", "prob", "conv") +
                                              Layer("Pooling", "pool", "prob", pool)));
  EXPECT_EQ(mean.output_kind(), OutputKind::kProbabilities);
  ASSERT_OK_AND_ASSIGN(const auto pooled, Build(map + Layer("Pooling", "pool", "conv", pool) +
                                                Layer("Sigmoid", "prob", "pool")));
  EXPECT_EQ(pooled.output_kind(), OutputKind::kIndependentLogits);
}

TEST(CaffeOutputsTest, OneSigmoidIsAnAnswer) {
  ASSERT_OK_AND_ASSIGN(const auto network, Build(Input(1, 2, 2) + Classifier("data", 1) +
                                                 Layer("Sigmoid", "prob", "fc")));
  EXPECT_EQ(network.output_kind(), OutputKind::kIndependentLogits);
  EXPECT_THAT(ErrorOf(Input(1, 2, 2) + Classifier("data", 1), kInvalid),
              AllOf(HasSubstr("'fc'"), HasSubstr("single number"), HasSubstr("sigmoid")));
}

TEST(CaffeOutputsTest, SeveralOutputsAreNamed) {
  const std::string pool =
      Layer("Pooling", "feat", "data", "pooling_param { pool: AVE global_pooling: true }");
  const std::string two = kNetwork + Layer("Softmax", "prob", "fc") + pool;
  EXPECT_THAT(ErrorOf(two, kInvalid), AllOf(HasSubstr("2 outputs"), HasSubstr("'prob' [?,4]"),
                                            HasSubstr("'feat' [?,1,1,2]"), HasSubstr("--output")));
  ASSERT_OK_AND_ASSIGN(const auto chosen, Build(two, "prob"));
  EXPECT_EQ(LogitsOf(chosen), "fc");
  ASSERT_OK_AND_ASSIGN(const auto hidden, Build(two, "fc"));
  EXPECT_EQ(LogitsOf(hidden), "fc");
  EXPECT_THAT(ErrorOf(two, kInvalid, "porb"),
              AllOf(HasSubstr("no output 'porb'"), HasSubstr("'prob' [?,4]")));
  // By the layer's name, where its blob has another.
  const std::string named =
      kNetwork + "layer { name: 'softmax' type: 'Softmax' bottom: 'fc' top: 'p' } " + pool;
  ASSERT_OK_AND_ASSIGN(const auto by_layer, Build(named, "softmax"));
  EXPECT_EQ(LogitsOf(by_layer), "fc");
}

TEST(CaffeOutputsTest, WhatIsNoClassScoresIsRefused) {
  const std::string conv =
      Input(2, 5, 5) +
      Layer("Convolution", "conv", "data", "convolution_param { num_output: 3 kernel_size: 3 }");
  EXPECT_THAT(ErrorOf(conv, kInvalid),
              AllOf(HasSubstr("'conv'"), HasSubstr("feature map"), HasSubstr("none has")));
  EXPECT_THAT(ErrorOf(conv + Layer("Softmax", "prob", "conv"), kInvalid), HasSubstr("'prob'"));
  ASSERT_OK_AND_ASSIGN(const auto beside,
                       Build(conv + Classifier("conv", 4) +
                             Layer("ReLU", "map", "conv", "relu_param { negative_slope: 0.1 }")));
  EXPECT_EQ(LogitsOf(beside), "fc") << "a map cannot be meant";
  EXPECT_THAT(ErrorOf(kNetwork + Layer("Softmax", "prob", "fc") +
                          Layer("Power", "p", "prob", "power_param { scale: 100 }"),
                      kInvalid),
              AllOf(HasSubstr("'p'"), HasSubstr("made of probabilities"), HasSubstr("'prob'")));
}

// ---- Files for training.

const std::string kTrainingData =
    "layer { name: 'd' type: 'Data' top: 'data' top: 'label' include { phase: TRAIN } "
    "transform_param { mirror: true crop_size: 3 mean_value: 1 mean_value: 2 mean_value: 3 } } "
    "layer { name: 'd' type: 'Data' top: 'data' top: 'label' include { phase: TEST } "
    "transform_param { crop_size: 3 mean_value: 1 mean_value: 2 mean_value: 3 } } ";

std::string Loss(const std::string& type, const std::string& bottom, const std::string& rest = "") {
  return fmt::format(
      "layer {{ name: 'loss_{0}' type: '{1}' bottom: '{0}' bottom: 'label' top: "
      "'loss_{0}' {2} }} ",
      bottom, type, rest);
}

TEST(CaffeOutputsTest, TrainingFilesAreTakenWithoutWhatOnlyTrainingNeeds) {
  const std::string accuracy =
      "layer { name: 'acc' type: 'Accuracy' bottom: 'fc' bottom: 'label' top: 'acc' } ";
  ASSERT_OK_AND_ASSIGN(const auto network, Build(kTrainingData + Classifier("data", 4) + accuracy +
                                                 Loss("SoftmaxWithLoss", "fc")));
  EXPECT_EQ(network.graph().input_shape(), Shape({Shape::kAnyBatch, 3, 3, 3}));
  EXPECT_EQ(network.output_kind(), OutputKind::kLogits);
  ASSERT_OK_AND_ASSIGN(const auto sigmoid, Build(kTrainingData + Classifier("data", 4) +
                                                 Loss("SigmoidCrossEntropyLoss", "fc")));
  EXPECT_EQ(sigmoid.output_kind(), OutputKind::kIndependentLogits);
  // The loss of the greatest weight is what training is for.
  const std::string aux = Classifier("data", 9, "aux") +
                          Loss("SoftmaxWithLoss", "aux", "loss_weight: 0.3") +
                          Classifier("data", 4) + Loss("SoftmaxWithLoss", "fc");
  ASSERT_OK_AND_ASSIGN(const auto weighted, Build(kTrainingData + aux));
  EXPECT_EQ(LogitsOf(weighted), "fc");
  EXPECT_THAT(
      ErrorOf(kTrainingData + Classifier("data", 9, "left") + Loss("SoftmaxWithLoss", "left") +
                  Classifier("data", 4) + Loss("SoftmaxWithLoss", "fc"),
              kInvalid),
      AllOf(HasSubstr("'left'"), HasSubstr("'fc'"), HasSubstr("--output")));
  // Labels may be handled by layers of their own.
  const auto sliced = Build(kTrainingData +
                            "layer { name: 's' type: 'Slice' bottom: 'label' top: 'x' top: 'y' } "
                            "layer { name: 'q' type: 'Silence' bottom: 'x' } " +
                            Classifier("data", 4) + Loss("SoftmaxWithLoss", "fc"));
  EXPECT_TRUE(sliced.ok()) << sliced.status();
  EXPECT_THAT(ErrorOf(kTrainingData + "layer { name: 'c' type: 'Concat' bottom: 'data' bottom: "
                                      "'label' top: 'c' } ",
                      kInvalid),
              AllOf(HasSubstr("'label'"), HasSubstr("only training has")));
}

TEST(CaffeOutputsTest, ATrainingFileWithoutTheShapeOfImagesSaysWhatToGive) {
  const std::string rest = Classifier("data", 4) + Loss("SoftmaxWithLoss", "fc");
  for (const std::string& data :
       {std::string("layer { name: 'd' type: 'Data' top: 'data' top: 'label' }"),
        std::string(
            "layer { name: 'd' type: 'Data' top: 'data' transform_param { crop_size: 8 } }"),
        std::string("layer { name: 'd' type: 'HDF5Data' top: 'data' top: 'label' }"),
        std::string("layer { name: 'd' type: 'Python' top: 'data' }")}) {
    EXPECT_THAT(ErrorOf(data + rest, kInvalid),
                AllOf(HasSubstr("'d'"), HasSubstr("for training"), HasSubstr("deploy.prototxt")));
  }
  EXPECT_THAT(
      ErrorOf("layer { name: 'd' type: 'Data' top: 'data' include { phase: TRAIN } }" + rest,
              kInvalid),
      HasSubstr("deploy.prototxt"));
  for (const std::string& data :
       {std::string("layer { name: 'd' type: 'ImageData' top: 'data' top: 'label' "
                    "image_data_param { new_height: 4 new_width: 5 } }"),
        std::string("layer { name: 'd' type: 'MemoryData' top: 'data' top: 'label' "
                    "memory_data_param { channels: 3 height: 4 width: 5 } }"),
        std::string("layer { name: 'd' type: 'DummyData' top: 'data' dummy_data_param { shape { "
                    "dim: 7 dim: 3 dim: 4 dim: 5 } } }"),
        std::string("input: 'data' input_dim: 1 input_dim: 3 input_dim: 4 input_dim: 5 "
                    "input: 'label' input_dim: 1 input_dim: 1 input_dim: 1 input_dim: 1 ")}) {
    SCOPED_TRACE(data);
    ASSERT_OK_AND_ASSIGN(const auto network, Build(data + rest));
    EXPECT_EQ(network.graph().input_shape(), Shape({Shape::kAnyBatch, 4, 5, 3}));
  }
}

}  // namespace
}  // namespace zood::netdef
