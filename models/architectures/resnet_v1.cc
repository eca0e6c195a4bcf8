// ResNet v1: He et al., "Deep Residual Learning for Image Recognition", 2015, with the stride in
// the last unit of a block, as slim has it.
#include "models/architectures/families.h"
#include "models/architectures/layers.h"
#include "models/architectures/preprocessing.h"
#include "models/architectures/resnet.h"

namespace zood::models {
namespace {

using resnet::Block;
using resnet::Units;

// relu(x + residual(x)), 1x1 down to a quarter of the channels, 3x3, 1x1 up again.
Value Bottleneck(Net& net, Value x, int channels, int stride) {
  const auto scope = net.Scope("bottleneck_v1");
  const Value shortcut =
      x.channels() == channels
          ? resnet::Subsample(net, x, stride)
          : net.Conv2d(
                x, channels, {1, 1},
                {.stride = Size2d{stride, stride}, .activation = nullptr, .scope = "shortcut"});
  Value residual = net.Conv2d(x, channels / 4, {1, 1}, {.scope = "conv1"});
  residual = net.Conv2d(residual, channels / 4, {3, 3},
                        {.stride = Size2d{stride, stride}, .scope = "conv2"});
  residual = net.Conv2d(residual, channels, {1, 1}, {.activation = nullptr, .scope = "conv3"});
  x = net.Apply(net.Add(shortcut, residual), Relu());
  net.EndPoint(net.scope(), x);
  return x;
}

Architecture::Outputs ResNetV1(Net& net, const std::string& name, const Units& units,
                               int num_classes) {
  const auto scope = net.Scope(name);
  const auto defaults = resnet::ArgScope(net);
  const auto collected = net.CollectEndPoints({.poolings = false});
  Value x = net.Conv2d(net.input(), 64, {7, 7}, {.stride = Size2d{2, 2}, .scope = "conv1"});
  x = net.MaxPool2d(x, {3, 3}, {.padding = kSame, .scope = "pool1"});
  for (const Block& block : resnet::Blocks(units)) x = resnet::Stack(net, x, block, Bottleneck);
  return {.logits = resnet::Head(net, x, num_classes)};
}

Architecture Entry(int layers, const Units& units, std::vector<Published> published) {
  const std::string name = fmt::format("resnet_v1_{}", layers);
  return {
      .name = name,
      .family = "ResNet v1",
      .description = fmt::format("Residual network with {} layers (2015). A steady choice for "
                                 "transfer.",
                                 layers),
      .scope = name,
      .defaults = {.num_classes = 1000, .height = 224, .width = 224},
      .labels = LabelSet::kImageNet,
      .published = std::move(published),
      .head_scopes = {name + "/logits"},
      .build =
          [name, units](Net& net, const NetworkArgs& args) {
            return ResNetV1(net, name, units, args.num_classes);
          },
      .preprocess = VggPreprocessing,
  };
}

}  // namespace

std::vector<Architecture> ResNetV1Family() {
  return {
      Entry(50, {3, 4, 6, 3}, {{"resnet_v1_50_2016_08_28.tar.gz", 75.2, 92.2}}),
      Entry(101, {3, 4, 23, 3}, {{"resnet_v1_101_2016_08_28.tar.gz", 76.4, 92.9}}),
      Entry(152, {3, 8, 36, 3}, {{"resnet_v1_152_2016_08_28.tar.gz", 76.8, 93.2}}),
      Entry(200, {3, 24, 36, 3}, {}),
  };
}

}  // namespace zood::models
