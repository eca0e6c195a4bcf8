// ResNet v2: He et al., "Identity Mappings in Deep Residual Networks", 2016: normalization and
// activation before the convolutions, nothing after the addition.
#include "models/architectures/families.h"
#include "models/architectures/layers.h"
#include "models/architectures/preprocessing.h"
#include "models/architectures/resnet.h"

namespace zood::models {
namespace {

using resnet::Block;
using resnet::Units;

// A convolution that stands alone: biases, no batch normalization, no activation.
Conv2dArgs Plain(int stride, const std::string& scope) {
  return {.stride = Size2d{stride, stride},
          .activation = nullptr,
          .normalizer = nullptr,
          .scope = scope};
}

// x + residual(relu(norm(x))), 1x1 down to a quarter of the channels, 3x3, 1x1 up again.
Value Bottleneck(Net& net, Value x, int channels, int stride) {
  const auto scope = net.Scope("bottleneck_v2");
  const Value preact = net.BatchNorm(x, {.activation = Relu(), .scope = "preact"});
  const Value shortcut = x.channels() == channels
                             ? resnet::Subsample(net, x, stride)
                             : net.Conv2d(preact, channels, {1, 1}, Plain(stride, "shortcut"));
  Value residual = net.Conv2d(preact, channels / 4, {1, 1}, {.scope = "conv1"});
  residual = net.Conv2d(residual, channels / 4, {3, 3},
                        {.stride = Size2d{stride, stride}, .scope = "conv2"});
  residual = net.Conv2d(residual, channels, {1, 1}, Plain(1, "conv3"));
  x = net.Add(shortcut, residual);
  net.EndPoint(net.scope(), x);
  return x;
}

Architecture::Outputs ResNetV2(Net& net, const std::string& name, const Units& units,
                               int num_classes) {
  const auto scope = net.Scope(name);
  const auto defaults = resnet::ArgScope(net);
  const auto collected = net.CollectEndPoints({.poolings = false});
  Value x = net.Conv2d(net.input(), 64, {7, 7}, Plain(2, "conv1"));
  x = net.MaxPool2d(x, {3, 3}, {.padding = kSame, .scope = "pool1"});
  for (const Block& block : resnet::Blocks(units)) x = resnet::Stack(net, x, block, Bottleneck);
  x = net.BatchNorm(x, {.activation = Relu(), .scope = "postnorm"});
  return {.logits = resnet::Head(net, x, num_classes)};
}

Architecture Entry(int layers, const Units& units, const Published& published) {
  const std::string name = fmt::format("resnet_v2_{}", layers);
  return {
      .name = name,
      .family = "ResNet v2",
      .description = fmt::format("Residual network with {} layers and pre-activation (2016). Takes "
                                 "images of 299x299 as published.",
                                 layers),
      .scope = name,
      .defaults = {.num_classes = 1001, .height = 299, .width = 299},
      .labels = LabelSet::kImageNetWithBackground,
      .published = {published},
      .head_scopes = {name + "/logits"},
      .build =
          [name, units](Net& net, const NetworkArgs& args) {
            return ResNetV2(net, name, units, args.num_classes);
          },
      .preprocess = InceptionPreprocessing,
  };
}

}  // namespace

std::vector<Architecture> ResNetV2Family() {
  return {
      Entry(50, {3, 4, 6, 3}, {"resnet_v2_50_2017_04_14.tar.gz", 75.6, 92.8}),
      Entry(101, {3, 4, 23, 3}, {"resnet_v2_101_2017_04_14.tar.gz", 77.0, 93.7}),
      Entry(152, {3, 8, 36, 3}, {"resnet_v2_152_2017_04_14.tar.gz", 77.8, 94.1}),
      Entry(200, {3, 24, 36, 3}, {"", 79.9, 95.2}),  // the paper's figures
  };
}

}  // namespace zood::models
