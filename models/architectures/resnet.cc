#include "models/architectures/resnet.h"

namespace zood::models::resnet {

std::vector<Block> Blocks(const Units& units) {
  return {{"block1", 256, units[0], 2},
          {"block2", 512, units[1], 2},
          {"block3", 1024, units[2], 2},
          {"block4", 2048, units[3], 1}};
}

std::array<Net::Guard, 2> ArgScope(Net& net) {
  return {net.Defaults(Conv2dArgs{.padding = kFixed,
                                  .normalizer = graph::BatchNorm(),
                                  .weights_initializer = VarianceScaling(),
                                  .weights_regularizer = L2(0.0001f)}),
          net.Defaults(BatchNormArgs{.decay = 0.997f, .epsilon = 1e-5f, .scale = true})};
}

Value Subsample(Net& net, Value x, int stride) {
  if (stride == 1) return x;
  return net.MaxPool2d(x, {1, 1}, {.stride = Size2d{stride, stride}, .scope = "shortcut"});
}

Value Stack(Net& net, Value x, const Block& block, const Unit& unit) {
  const auto scope = net.Scope(block.scope);
  for (int i = 1; i <= block.units; ++i) {
    const auto unit_scope = net.Scope(fmt::format("unit_{}", i));
    x = unit(net, x, block.channels, i == block.units ? block.stride : 1);
  }
  net.EndPoint(net.scope(), x);
  return x;
}

Value Head(Net& net, Value x, int num_classes) {
  x = GlobalPool(net, x);
  if (num_classes == 0) return net.Squeeze(x);
  x = ConvLogits(net, x, num_classes, "logits");
  net.EndPoint(net.scope() + "/spatial_squeeze", x);
  net.EndPoint("predictions", net.Softmax(x));
  return x;
}

}  // namespace zood::models::resnet
