// Inception v2 (Ioffe and Szegedy, "Batch normalization", ICML 2015), as published in slim.
#include "models/architectures/inception_common.h"

// Tables of layers, laid out by hand.
// clang-format off
namespace zood::models::inception {
namespace {

// A 1x1 convolution that narrows the input of larger ones.
Layer Reduce(int channels) {
  return Conv(channels, {1, 1}, "Conv2d_0a_1x1", {.weights_initializer = TruncatedNormal(0.09f)});
}

Value Block(Net& net, Value x, const std::string& name, const Widths& widths,
            const Layer& pool = AvgPool({3, 3}, "AvgPool_0a_3x3")) {
  return Mixed(net, x, name, {
      {Conv(widths.branch_0, {1, 1}, "Conv2d_0a_1x1")},
      {Reduce(widths.branch_1_reduce), Conv(widths.branch_1, {3, 3}, "Conv2d_0b_3x3")},
      {Reduce(widths.branch_2_reduce), Conv(widths.branch_2, {3, 3}, "Conv2d_0b_3x3"),
       Conv(widths.branch_2, {3, 3}, "Conv2d_0c_3x3")},
      {pool, Conv(widths.branch_3, {1, 1}, "Conv2d_0b_1x1",
                  {.weights_initializer = TruncatedNormal(0.1f)})},
  });
}

// Halves the map.
Value Reduction(Net& net, Value x, const std::string& name, int branch_0, int branch_1_reduce,
                int branch_1) {
  return Mixed(net, x, name, {
      {Reduce(128), Conv(branch_0, {3, 3}, "Conv2d_1a_3x3", {.stride = kStride2})},
      {Reduce(branch_1_reduce), Conv(branch_1, {3, 3}, "Conv2d_0b_3x3"),
       Conv(branch_1, {3, 3}, "Conv2d_1a_3x3", {.stride = kStride2})},
      {MaxPool({3, 3}, "MaxPool_1a_3x3", {.stride = kStride2})},
  });
}

Value Body(Net& net, Value x) {
  // The one layer with biases, without batch normalization and without regularizer: slim's argument
  // scope does not reach separable convolutions.
  x = net.SeparableConv2d(x, 64, {7, 7}, 8, {.stride = kStride2,
                                             .weights_initializer = TruncatedNormal(1.0f),
                                             .scope = "Conv2d_1a_7x7"});
  net.EndPoint("Conv2d_1a_7x7", x);
  x = Stem(net, x, {
      MaxPool({3, 3}, "MaxPool_2a_3x3", {.stride = kStride2}),
      Conv(64, {1, 1}, "Conv2d_2b_1x1", {.weights_initializer = TruncatedNormal(0.1f)}),
      Conv(192, {3, 3}, "Conv2d_2c_3x3"),
      MaxPool({3, 3}, "MaxPool_3a_3x3", {.stride = kStride2}),
  });
  x = Block(net, x, "Mixed_3b", {64, 64, 64, 64, 96, 32});
  x = Block(net, x, "Mixed_3c", {64, 64, 96, 64, 96, 64});
  x = Reduction(net, x, "Mixed_4a", 160, 64, 96);
  x = Block(net, x, "Mixed_4b", {224, 64, 96, 96, 128, 128});
  x = Block(net, x, "Mixed_4c", {192, 96, 128, 96, 128, 128});
  x = Block(net, x, "Mixed_4d", {160, 128, 160, 128, 160, 96});
  x = Block(net, x, "Mixed_4e", {96, 128, 192, 160, 192, 96});
  x = Reduction(net, x, "Mixed_5a", 192, 192, 256);
  x = Block(net, x, "Mixed_5b", {352, 192, 320, 160, 224, 128});
  return Block(net, x, "Mixed_5c", {352, 192, 320, 192, 224, 128},
               MaxPool({3, 3}, "MaxPool_0a_3x3"));
}

}  // namespace

Architecture::Outputs InceptionV2(Net& net, const NetworkArgs& args) {
  const auto scope = net.Scope("InceptionV2");
  const auto arg_scope = ArgScope(net);
  return {.logits = ConvHead(net, Body(net, net.input()), {7, 7}, args.num_classes)};
}

}  // namespace zood::models::inception
// clang-format on
// clang-format on
