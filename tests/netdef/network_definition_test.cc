// Networks of the zoo and from files behind one interface, and the form in which they are stored.
#include "netdef/network_definition.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "netdef/formats.h"
#include "netdef/network_spec.h"
#include "tests/netdef/caffe_text.h"
#include "tests/support/status_testing.h"

namespace zood::netdef {
namespace {

using graph::OutputKind;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const std::string kPrototxt =
    Input(3, 8, 8) +
    Layer("Convolution", "conv", "data", "convolution_param { num_output: 4 kernel_size: 3 }") +
    Layer("ReLU", "relu", "conv") + Classifier("relu", 7, "score") +
    Layer("Softmax", "prob", "score");

NetworkSpec SmallLeNet() {
  return ZooSpec("lenet", {.num_classes = 10, .height = 12, .width = 12, .channels = 1});
}

class NetworkDefinitionTest : public ::testing::Test {
 protected:
  const models::Zoo zoo_ = models::Zoo::Standard();
};

TEST_F(NetworkDefinitionTest, SpecsSurviveTheirJson) {
  NetworkSpec chosen = CaffeSpec(kPrototxt);
  chosen.args.num_classes = 3;
  chosen.output = "prob\xc3\xa9";
  chosen.output_kind = OutputKind::kIndependentLogits;
  NetworkSpec sigmoid = SmallLeNet();
  sigmoid.output_kind = OutputKind::kIndependentLogits;
  for (const NetworkSpec& spec :
       {SmallLeNet(), sigmoid, CaffeSpec("name: \"x\"\nlayer { }"), chosen}) {
    ASSERT_OK_AND_ASSIGN(const auto read, NetworkSpecFromJson(ToJson(spec)));
    EXPECT_EQ(read, spec);
  }
  // What versions of before held.
  EXPECT_EQ(*NetworkSpecFromJson(
                R"({"zoo":"lenet","num_classes":10,"height":12,"width":12,"channels":1})"),
            SmallLeNet());
  EXPECT_EQ(NetworkSpecFromJson(R"({"caffe":"layer { }","num_classes":5})")->args.num_classes, 5);
  EXPECT_EQ(ToJson(SmallLeNet()),
            R"({"zoo":"lenet","num_classes":10,"height":12,"width":12,"channels":1})");
}

TEST_F(NetworkDefinitionTest, DamagedSpecsAreRefused) {
  for (const char* bad :
       {"", "[]", "{}", "{\"zoo\": 3}", "{\"zoo\": \"lenet\"}",
        "{\"zoo\":\"lenet\",\"num_classes\":\"10\"}", "{\"caffe\":null}",
        "{\"caffe\":\"x\",\"num_classes\":-1}", "{\"caffe\":\"x\",\"output\":4}",
        "{\"caffe\":\"x\",\"output_kind\":\"percent\"}", "{\"caffe\":\"x\",\"output_kind\":[]}"}) {
    EXPECT_EQ(NetworkSpecFromJson(bad).status().code(), kInvalid) << bad;
    EXPECT_EQ(BuildNetwork(std::string(bad), zoo_).status().code(), kInvalid) << bad;
  }
  const auto newer = BuildNetwork(std::string("{\"keras\":\"xyz\"}"), zoo_);
  EXPECT_EQ(newer.status().code(), kUnimplemented);
  EXPECT_THAT(std::string(newer.status().message()), HasSubstr("'keras'"));
}

TEST_F(NetworkDefinitionTest, TheZooKnowsAllOfItsNetworks) {
  ASSERT_OK_AND_ASSIGN(const auto network,
                       BuildNetwork(ZooSpec("inception_v3", {.channels = 0}), zoo_));
  EXPECT_EQ(network->spec().args, (*zoo_.Find("inception_v3"))->defaults);
  EXPECT_EQ(network->output_kind(), OutputKind::kLogits);
  EXPECT_EQ(network->Labels().size(), static_cast<std::size_t>(network->num_classes()));
  ASSERT_OK_AND_ASSIGN(const auto preprocessing, network->Preprocessing(nullptr));
  EXPECT_TRUE(preprocessing.assumed.empty()) << "it is known";
  const Tensor mean = Some({3, 2, 2});
  EXPECT_EQ(network->Preprocessing(&mean).status().code(), kInvalid);
  NetworkSpec chosen = SmallLeNet();
  chosen.output = "fc3";
  EXPECT_EQ(BuildNetwork(chosen, zoo_).status().code(), kInvalid);
  EXPECT_EQ(BuildNetwork(ZooSpec("lennet"), zoo_).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(NetworkDefinitionTest, TheHeadIsWhatChangesWithTheClasses) {
  EXPECT_THAT((*BuildNetwork(SmallLeNet(), zoo_))->HeadVariables(),
              ElementsAre("LeNet/fc4/weights", "LeNet/fc4/biases"));
  EXPECT_THAT((*BuildNetwork(CaffeSpec(kPrototxt), zoo_))->HeadVariables(),
              ElementsAre("score/weights", "score/biases"));
  ASSERT_OK_AND_ASSIGN(
      const auto scaled,
      BuildNetwork(
          CaffeSpec(Input(3, 4, 4) + Classifier("data", 7) + Layer("BatchNorm", "bn", "fc") +
                    Layer("Scale", "scale", "bn") + Layer("Sigmoid", "prob", "scale")),
          zoo_));
  EXPECT_THAT(scaled->HeadVariables(), ElementsAre("fc/weights", "fc/biases", "bn/moving_mean",
                                                   "bn/moving_variance", "scale/gamma"));
  ASSERT_OK_AND_ASSIGN(const auto other,
                       WithClasses(*scaled, 3, OutputKind::kIndependentLogits, zoo_));
  EXPECT_EQ(other->num_classes(), 3);
  EXPECT_EQ(other->HeadVariables(), scaled->HeadVariables());
}

TEST_F(NetworkDefinitionTest, TakesAnotherNumberOfClassesAndIsBuiltAgain) {
  for (const NetworkSpec& spec : {SmallLeNet(), CaffeSpec(kPrototxt)}) {
    ASSERT_OK_AND_ASSIGN(const auto base, BuildNetwork(spec, zoo_));
    ASSERT_OK_AND_ASSIGN(const auto network, WithClasses(*base, 3, OutputKind::kLogits, zoo_));
    EXPECT_EQ(network->num_classes(), 3);
    ASSERT_OK_AND_ASSIGN(const auto again, BuildNetwork(ToJson(network->spec()), zoo_));
    EXPECT_EQ(again->num_classes(), 3);
    EXPECT_EQ(again->spec(), network->spec());
    // The same classes are the same network.
    EXPECT_EQ(ToJson((*WithClasses(*base, base->num_classes(), OutputKind::kLogits, zoo_))->spec()),
              ToJson(spec));
  }
}

TEST_F(NetworkDefinitionTest, ItsOutputIsServedAsItWasTrained) {
  ASSERT_OK_AND_ASSIGN(const auto sigmoid,
                       BuildNetwork(CaffeSpec(Input(1, 4, 4) + Classifier("data", 1) +
                                              Layer("Sigmoid", "prob", "fc")),
                                    zoo_));
  EXPECT_EQ(sigmoid->output_kind(), OutputKind::kIndependentLogits);
  ASSERT_OK_AND_ASSIGN(const auto trained, WithClasses(*sigmoid, 2, OutputKind::kLogits, zoo_));
  EXPECT_EQ(trained->output_kind(), OutputKind::kLogits);
  ASSERT_OK_AND_ASSIGN(const auto again, BuildNetwork(ToJson(trained->spec()), zoo_));
  EXPECT_EQ(again->output_kind(), OutputKind::kLogits);
  ASSERT_OK_AND_ASSIGN(const auto independent, WithClasses(**BuildNetwork(SmallLeNet(), zoo_), 4,
                                                           OutputKind::kIndependentLogits, zoo_));
  EXPECT_EQ((*BuildNetwork(ToJson(independent->spec()), zoo_))->output_kind(),
            OutputKind::kIndependentLogits);
}

TEST_F(NetworkDefinitionTest, WhatCannotBeTrainedSaysWhy) {
  ASSERT_OK_AND_ASSIGN(
      const auto features,
      BuildNetwork(CaffeSpec(Input(3, 8, 8) + Layer("Pooling", "pool", "data",
                                                    "pooling_param { pool: AVE global_pooling: "
                                                    "true }")),
                   zoo_));
  EXPECT_THAT(std::string(WithClasses(*features, 2, OutputKind::kLogits, zoo_).status().message()),
              HasSubstr("InnerProduct"));
  ASSERT_OK_AND_ASSIGN(
      const auto mean,
      BuildNetwork(
          CaffeSpec(Input(1, 4, 4) + Classifier("data", 3, "a") + Classifier("data", 3, "b") +
                    Layer("Softmax", "pa", "a") + Layer("Softmax", "pb", "b") +
                    "layer { name: 'm' type: 'Eltwise' bottom: 'pa' bottom: 'pb' top: 'm' "
                    "eltwise_param { coeff: 0.25 coeff: 0.75 } }"),
          zoo_));
  EXPECT_EQ(mean->output_kind(), OutputKind::kProbabilities);
  EXPECT_THAT(std::string(WithClasses(*mean, 2, OutputKind::kLogits, zoo_).status().message()),
              HasSubstr("no logits to train"));
}

TEST_F(NetworkDefinitionTest, FormatsAreToldByContent) {
  EXPECT_EQ(Describe(kPrototxt, "x", 1 << 20)->format, kCaffeFormat);
  for (const std::string& other :
       {std::string("\x08\x07\x12\x07pytorch"), std::string("{\"class_name\": \"Sequential\"}"),
        std::string("\x89PNG\r\n"), std::string("layer\0", 6)}) {
    const auto format = Describe(other, "net.bin", 1 << 20);
    EXPECT_EQ(format.status().code(), kInvalid);
    EXPECT_THAT(std::string(format.status().message()),
                AllOf(HasSubstr("net.bin"), HasSubstr(".prototxt")));
  }
}

TEST_F(NetworkDefinitionTest, AllLayersThatAreMissingAreNamed) {
  const auto network = BuildNetwork(
      CaffeSpec(
          Input(4, 8, 8) + Layer("ShuffleChannel", "mix", "data") +
          Layer("Pooling", "p", "mix", "pooling_param { pool: STOCHASTIC kernel_size: 2 }") +
          Layer("Deconvolution", "up", "p", "convolution_param { num_output: 1 kernel_size: 2 }") +
          Classifier("up", 2)),
      zoo_);
  EXPECT_EQ(network.status().code(), kUnimplemented);
  EXPECT_THAT(std::string(network.status().message()),
              AllOf(HasSubstr("'mix' of type ShuffleChannel"), HasSubstr("stochastic"),
                    HasSubstr("'up' of type Deconvolution")));
}

}  // namespace
}  // namespace zood::netdef
