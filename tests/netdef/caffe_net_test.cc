#include "netdef/caffe/net.h"

#include <gtest/gtest.h>

#include "base/checksum.h"
#include "tests/checkpoint/support/manifest_fixtures.h"
#include "tests/support/outside_file.h"
#include "tests/support/status_testing.h"

namespace zood::netdef {
namespace {

CaffeNet Parse(const std::string& file) {
  return zood::ValueOf(
      ParseCaffeText(checkpoint::ReadWholeFile(checkpoint::DataPath("caffe/" + file)), file));
}

const CaffeLayer& Layer(const CaffeNet& net, const std::string& name) {
  for (const CaffeLayer& layer : net.layers) {
    if (layer.name == name) return layer;
  }
  ADD_FAILURE() << "no layer " << name;
  static const CaffeLayer none;
  return none;
}

template <typename T>
T Parameters(const CaffeNet& net, const std::string& name) {
  const T* parameters = std::get_if<T>(&Layer(net, name).parameters);
  EXPECT_NE(parameters, nullptr) << name;
  return parameters != nullptr ? *parameters : T{};
}

TEST(CaffeNetTest, ResolvesConvolutions) {
  const CaffeNet net = Parse("every_layer.prototxt");
  const auto conv = Parameters<CaffeConvolution>(net, "conv1");
  EXPECT_EQ(conv.num_output, 16);
  EXPECT_FALSE(conv.bias_term);
  EXPECT_EQ(conv.kernel, (CaffeSpatial{3, 5}));
  EXPECT_EQ(conv.stride, (CaffeSpatial{2, 2}));
  EXPECT_EQ(conv.pad, (CaffeSpatial{1, 2}));
  EXPECT_EQ(conv.dilation, (CaffeSpatial{1, 2}));
  EXPECT_EQ(conv.group, 4);
  const auto deconv = Parameters<CaffeConvolution>(net, "deconv");
  EXPECT_TRUE(deconv.bias_term);
  EXPECT_EQ(deconv.dilation, (CaffeSpatial{1, 1}));
  EXPECT_EQ(deconv.group, 1);
}

TEST(CaffeNetTest, ResolvesPooling) {
  const CaffeNet net = Parse("every_layer.prototxt");
  const auto average = Parameters<CaffePooling>(net, "pool1");
  EXPECT_EQ(average.method, CaffePooling::Method::kAverage);
  EXPECT_EQ(average.kernel, (CaffeSpatial{3, 3}));
  EXPECT_EQ(average.stride, (CaffeSpatial{2, 1}));
  EXPECT_EQ(average.pad, (CaffeSpatial{1, 1}));
  EXPECT_FALSE(average.round_up);
  const auto max = Parameters<CaffePooling>(net, "pool2");
  EXPECT_EQ(max.method, CaffePooling::Method::kMax);
  EXPECT_EQ(max.stride, (CaffeSpatial{1, 1}));
  EXPECT_TRUE(max.round_up);
  EXPECT_FALSE(max.global);
  EXPECT_TRUE(Parameters<CaffePooling>(net, "gap").global);
}

TEST(CaffeNetTest, ResolvesTheOtherLayers) {
  const CaffeNet net = Parse("every_layer.prototxt");
  EXPECT_EQ(net.name, "every_layer");
  EXPECT_EQ(Parameters<CaffeBatchNorm>(net, "bn1").eps, 1e-3F);
  EXPECT_TRUE(Parameters<CaffeBatchNorm>(net, "bn1").use_global_stats);
  EXPECT_TRUE(Parameters<CaffeScale>(net, "scale1").bias_term);
  EXPECT_EQ(Parameters<CaffeRelu>(net, "relu1").negative_slope, 0.125F);
  EXPECT_TRUE(Parameters<CaffePRelu>(net, "prelu1").channel_shared);
  EXPECT_EQ(Parameters<CaffeElu>(net, "elu1").alpha, 1);
  const auto lrn = Parameters<CaffeLrn>(net, "norm1");
  EXPECT_EQ(lrn.local_size, 3);
  EXPECT_EQ(lrn.alpha, 5e-5F);
  EXPECT_EQ(lrn.beta, 0.75F);
  EXPECT_EQ(lrn.k, 1);
  EXPECT_FALSE(lrn.within_channel);
  const auto sum = Parameters<CaffeEltwise>(net, "sum");
  EXPECT_EQ(sum.operation, CaffeEltwise::Operation::kSum);
  EXPECT_EQ(sum.coefficients, (std::vector<float>{1, -1}));
  EXPECT_EQ(Parameters<CaffeEltwise>(net, "product").operation, CaffeEltwise::Operation::kProduct);
  EXPECT_EQ(Parameters<CaffeConcat>(net, "concat").axis, 1);
  EXPECT_EQ(Parameters<CaffeSlice>(net, "slice").axis, -3);
  EXPECT_EQ(Parameters<CaffeSlice>(net, "slice").slice_points, (std::vector<std::int64_t>{5}));
  EXPECT_EQ(Parameters<CaffeBias>(net, "bias").num_axes, -1);
  const auto power = Parameters<CaffePower>(net, "power");
  EXPECT_EQ(power.power, 2);
  EXPECT_EQ(power.scale, 1);
  EXPECT_EQ(power.shift, 0.5F);
  EXPECT_EQ(Parameters<CaffeReshape>(net, "reshape").dims, (std::vector<std::int64_t>{0, -1}));
  EXPECT_EQ(Parameters<CaffeFlatten>(net, "flatten").end_axis, 2);
  EXPECT_EQ(Parameters<CaffeDropout>(net, "drop").ratio, 0.25F);
  const auto fc = Parameters<CaffeInnerProduct>(net, "fc");
  EXPECT_EQ(fc.num_output, 10);
  EXPECT_FALSE(fc.bias_term);
  EXPECT_TRUE(fc.transpose);
  EXPECT_EQ(Parameters<CaffeSoftmax>(net, "prob").axis, 1);
  EXPECT_EQ(Layer(net, "odd").type, "InventedByAFork");
  EXPECT_EQ(Layer(net, "relu1").bottoms, std::vector<std::string>{"conv1"});
  EXPECT_EQ(Layer(net, "slice").tops, (std::vector<std::string>{"left", "right"}));
}

TEST(CaffeNetTest, KnowsAllFormsOfInput) {
  const CaffeNet layer = Parse("every_layer.prototxt");
  ASSERT_EQ(layer.inputs.size(), 2u);
  EXPECT_EQ(layer.inputs[0].name, "data");
  EXPECT_EQ(layer.inputs[0].shape, Shape({1, 3, 32, 24}));
  EXPECT_EQ(layer.inputs[1].shape, Shape({1, 8}));
  const CaffeNet dims = Parse("v1.prototxt");
  ASSERT_EQ(dims.inputs.size(), 1u);
  EXPECT_EQ(dims.inputs[0].shape, Shape({10, 3, 227, 227}));
  ASSERT_OK_AND_ASSIGN(
      const auto shape,
      ParseCaffeText("input: 'a' input_shape { dim: 1 dim: 2 } input: 'b' input_shape { dim: 3 }"
                     "layer { name: 'r' type: 'ReLU' bottom: 'a' top: 'a' }",
                     "x"));
  EXPECT_EQ(shape.inputs[1].shape, Shape({3}));
}

TEST(CaffeNetTest, UpgradesV1Layers) {
  const CaffeNet net = Parse("v1.prototxt");
  std::vector<std::string> types;
  for (const CaffeLayer& layer : net.layers) types.push_back(layer.type);
  EXPECT_EQ(types, (std::vector<std::string>{"Convolution", "ReLU", "LRN", "Pooling",
                                             "InnerProduct", "Softmax"}));
  EXPECT_EQ(Parameters<CaffeConvolution>(net, "conv1").stride, (CaffeSpatial{4, 4}));
  EXPECT_TRUE(Parameters<CaffeLrn>(net, "norm1").within_channel);
}

TEST(CaffeNetTest, AppliesTheRulesForTest) {
  std::vector<std::string> names;
  for (const CaffeLayer& layer : Parse("train_val.prototxt").layers) names.push_back(layer.name);
  EXPECT_EQ(names, (std::vector<std::string>{"test_data", "fc", "in_either", "both_stages",
                                             "exclude_other", "loss", "accuracy"}));
}

TEST(CaffeNetTest, ReadsTheNetworkThatAModelCarries) {
  for (const std::string name : {"new.caffemodel", "v1.caffemodel", "unpacked.caffemodel"}) {
    const std::string bytes = checkpoint::ReadWholeFile(checkpoint::DataPath("caffe/" + name));
    ASSERT_OK_AND_ASSIGN(const auto net, ParseCaffeModel(AsBytes(bytes), name));
    EXPECT_EQ(Parameters<CaffeConvolution>(net, "conv1").pad, (CaffeSpatial{1, 1}));
    EXPECT_EQ(Parameters<CaffePooling>(net, "pool/1").method, CaffePooling::Method::kAverage);
    EXPECT_EQ(Parameters<CaffeInnerProduct>(net, "fc").num_output, 2);
    EXPECT_EQ(Layer(net, "conv1").bottoms, std::vector<std::string>{"data"});
    EXPECT_EQ(net.layers.front().name, "conv1") << "data is for training only";
  }
}

TEST(CaffeNetTest, RefusesTheFirstForm) {
  const auto text = ParseCaffeText("layers {\n layer { name: 'a' type: 'relu' } }", "x.prototxt");
  EXPECT_EQ(text.status().code(), absl::StatusCode::kUnimplemented);
  EXPECT_EQ(text.status().message().find("x.prototxt:2:"), 0u) << text.status();
  const std::string bytes = checkpoint::ReadWholeFile(checkpoint::DataPath("caffe/v0.caffemodel"));
  EXPECT_EQ(ParseCaffeModel(AsBytes(bytes), "x").status().code(), absl::StatusCode::kUnimplemented);
}

// A pooling layer and what is said of it.
struct Mistake {
  std::string text;
  std::string message;
};

TEST(CaffeNetTest, SaysWhatIsWrong) {
  const Mistake mistakes[] = {
      {"layer {\n  name: 'a'\n  colors: 3\n}",
       "x:3:9: Message type \"LayerParameter\" has no field"},
      {"layer { type: 'Pooling' pooling_param { pool: MEDIAN } }", "MEDIAN"},
      {"layer {", "x:1:8: "},
      {"", "no layers"},
      {"input: 'a' layer { type: 'ReLU' }", "four input_dim or one input_shape"},
      {"input: 'a' input_dim: 1 layer { type: 'ReLU' }", "1 inputs have 1 input_dim"},
      {"input: 'a' input_shape { dim: 0 } layer { type: 'ReLU' }", "input 'a': dim is 0"},
      {"layer { name: 'a' }", "has no type"},
      {"layer { name: 'a' type: 'Input' top: 'x' }", "0 shapes for 1 inputs"},
      {"layer { name: 'p' type: 'Pooling' }", "layer 'p' of type Pooling: kernel_size is missing"},
      {"layer { type: 'Pooling' pooling_param { kernel_size: 2 kernel_h: 2 } }",
       "both kernel_size"},
      {"layer { type: 'Pooling' pooling_param { kernel_size: 2 stride: 0 } }", "stride is 0"},
      {"layer { type: 'Pooling' pooling_param { kernel_size: 2 pad: 2 } }",
       "smaller than the kernel"},
      {"layer { type: 'Pooling' pooling_param { kernel_size: 2 global_pooling: true } }",
       "exclude"},
      {"layer { type: 'Pooling' pooling_param { kernel_size: 4294967295 } }", "between 1 and"},
      {"layer { type: 'Convolution' convolution_param { num_output: 3 kernel_size: 1 group: 2 } }",
       "not a multiple of group 2"},
      {"layer { type: 'Convolution' convolution_param { kernel_size: 1 } }", "num_output is 0"},
      {"layer { type: 'Convolution' convolution_param { num_output: 1 kernel_size: 1 kernel_size: "
       "1 "
       "kernel_size: 1 } }",
       "kernel_size has 3 values"},
      {"layer { type: 'LRN' lrn_param { local_size: 4 } }", "must be odd"},
      {"layer { type: 'LRN' lrn_param { alpha: nan } }", "not a finite number"},
      {"layer { type: 'BatchNorm' batch_norm_param { eps: -1 } }", "must not be negative"},
      {"layer { type: 'Eltwise' bottom: 'a' bottom: 'b' eltwise_param { coeff: 1 } }",
       "1 values of coeff"},
      {"layer { type: 'Concat' concat_param { axis: 99 } }", "axis is 99"},
      {"layer { type: 'Slice' top: 'a' top: 'b' slice_param { slice_point: 0 } }",
       "slice_point is 0"},
      {"layer { type: 'Dropout' dropout_param { dropout_ratio: 1 } }", "dropout_ratio is 1"},
      {"layer { type: 'ReLU' include { phase: TEST } exclude { phase: TRAIN } }",
       "either include or"},
      {"layer { type: 'ReLU' } layers { type: RELU }", "V1 form and"},
  };
  for (const auto& [text, message] : mistakes) {
    const auto net = ParseCaffeText(text, "x");
    EXPECT_EQ(net.status().code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_NE(net.status().message().find(message), std::string::npos) << text << net.status();
  }
}

TEST(CaffeNetTest, IsBounded) {
  const std::string text = "layer { type: 'ReLU' }";
  EXPECT_EQ(ParseCaffeText(text, "x", {.max_metadata_bytes = 1000}).status().code(),
            absl::StatusCode::kResourceExhausted);
  std::string layers;
  for (int i = 0; i < 400'000; ++i) layers += std::string("\xa2\x06\x00", 3);
  EXPECT_EQ(ParseCaffeModel(AsBytes(layers), "x").status().code(),
            absl::StatusCode::kResourceExhausted);
}

TEST(PublishedCaffeTest, OpenNsfwPrototxt) {
  ZOOD_OUTSIDE_FILE(path, "ZOOD_MODELS_DIR", "open_nsfw/deploy.prototxt");
  ASSERT_OK_AND_ASSIGN(const auto net, ParseCaffeText(checkpoint::ReadWholeFile(path), path));
  std::map<std::string, int> types;
  for (const CaffeLayer& layer : net.layers) ++types[layer.type];
  EXPECT_EQ(types["Convolution"], 53);
  EXPECT_EQ(types["Eltwise"], 16);
  EXPECT_EQ(types["InnerProduct"], 1);
  ASSERT_EQ(net.inputs.size(), 1u);
  EXPECT_EQ(net.inputs[0].shape, Shape({1, 3, 224, 224}));
  EXPECT_EQ(net.layers.back().type, "Softmax");
}

}  // namespace
}  // namespace zood::netdef
