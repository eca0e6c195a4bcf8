// Inception v1, "GoogLeNet" (Szegedy et al., "Going deeper with convolutions", CVPR 2015), with
// batch normalization, 3x3 in place of 5x5 branches, and without auxiliary heads, as published in
// slim.
#include "models/architectures/inception_common.h"

// Tables of layers, laid out by hand.
// clang-format off
namespace zood::models::inception {
namespace {

Value Block(Net& net, Value x, const std::string& name, const Widths& widths,
            const std::string& branch_2_name = "Conv2d_0b_3x3") {
  return Mixed(net, x, name, {
      {Conv(widths.branch_0, {1, 1}, "Conv2d_0a_1x1")},
      {Conv(widths.branch_1_reduce, {1, 1}, "Conv2d_0a_1x1"),
       Conv(widths.branch_1, {3, 3}, "Conv2d_0b_3x3")},
      {Conv(widths.branch_2_reduce, {1, 1}, "Conv2d_0a_1x1"),
       Conv(widths.branch_2, {3, 3}, branch_2_name)},
      {MaxPool({3, 3}, "MaxPool_0a_3x3"), Conv(widths.branch_3, {1, 1}, "Conv2d_0b_1x1")},
  });
}

Value Body(Net& net, Value x) {
  const auto defaults = net.Defaults(Conv2dArgs{.weights_initializer = TruncatedNormal(0.01f)});
  x = Stem(net, x, {
      Conv(64, {7, 7}, "Conv2d_1a_7x7", {.stride = kStride2}),
      MaxPool({3, 3}, "MaxPool_2a_3x3", {.stride = kStride2}),
      Conv(64, {1, 1}, "Conv2d_2b_1x1"),
      Conv(192, {3, 3}, "Conv2d_2c_3x3"),
      MaxPool({3, 3}, "MaxPool_3a_3x3", {.stride = kStride2}),
  });
  x = Block(net, x, "Mixed_3b", {64, 96, 128, 16, 32, 32});
  x = Block(net, x, "Mixed_3c", {128, 128, 192, 32, 96, 64});
  x = Stem(net, x, {MaxPool({3, 3}, "MaxPool_4a_3x3", {.stride = kStride2})});
  x = Block(net, x, "Mixed_4b", {192, 96, 208, 16, 48, 64});
  x = Block(net, x, "Mixed_4c", {160, 112, 224, 24, 64, 64});
  x = Block(net, x, "Mixed_4d", {128, 128, 256, 24, 64, 64});
  x = Block(net, x, "Mixed_4e", {112, 144, 288, 32, 64, 64});
  x = Block(net, x, "Mixed_4f", {256, 160, 320, 32, 128, 128});
  x = Stem(net, x, {MaxPool({2, 2}, "MaxPool_5a_2x2", {.stride = kStride2})});
  x = Block(net, x, "Mixed_5b", {256, 160, 320, 32, 128, 128}, "Conv2d_0a_3x3");
  return Block(net, x, "Mixed_5c", {384, 192, 384, 48, 128, 128});
}

}  // namespace

Architecture::Outputs InceptionV1(Net& net, const NetworkArgs& args) {
  const auto scope = net.Scope("InceptionV1");
  const auto arg_scope = ArgScope(net);
  Value x = Body(net, net.input());

  const auto logits_scope = net.Scope("Logits");
  x = GlobalPool(net, x, "AvgPool_0a_7x7");
  if (args.num_classes == 0) return {.logits = net.Squeeze(x)};
  x = ConvLogits(net, x, args.num_classes, "Conv2d_0c_1x1", kKeepProbability);
  return {.logits = Classify(net, x)};
}

}  // namespace zood::models::inception
// clang-format on
// clang-format on
