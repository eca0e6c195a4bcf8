// Inception-ResNet-v2 (Szegedy et al., "Inception-v4, Inception-ResNet and the impact of residual
// connections on learning", AAAI 2017), as published in slim.
#include <fmt/format.h>

#include <functional>
#include <string>

#include "models/architectures/inception_common.h"

// Tables of layers, laid out by hand.
// clang-format off
namespace zood::models::inception {
namespace {

// x + scale * up, where `up` brings the concatenated branches to the channels of x.
Value Residual(Net& net, Value x, float scale, const graph::ActivationPtr& activation,
               const std::vector<Branch>& branches) {
  const Value up =
      net.Conv2d(Branches(net, x, branches), x.channels(), {1, 1},
                 {.activation = nullptr, .normalizer = nullptr, .scope = "Conv2d_1x1"});
  return net.Apply(net.Add(x, up, scale), activation);
}

// 35x35 at the network's own image size.
Value Block35(Net& net, Value x, const std::string& name) {
  const auto scope = net.Scope(name);
  return Residual(net, x, 0.17f, Relu(), {
      {Conv(32, {1, 1}, "Conv2d_1x1")},
      {Conv(32, {1, 1}, "Conv2d_0a_1x1"), Conv(32, {3, 3}, "Conv2d_0b_3x3")},
      {Conv(32, {1, 1}, "Conv2d_0a_1x1"), Conv(48, {3, 3}, "Conv2d_0b_3x3"),
       Conv(64, {3, 3}, "Conv2d_0c_3x3")},
  });
}

// 17x17.
Value Block17(Net& net, Value x, const std::string& name) {
  const auto scope = net.Scope(name);
  return Residual(net, x, 0.1f, Relu(), {
      {Conv(192, {1, 1}, "Conv2d_1x1")},
      {Conv(128, {1, 1}, "Conv2d_0a_1x1"), Conv(160, {1, 7}, "Conv2d_0b_1x7"),
       Conv(192, {7, 1}, "Conv2d_0c_7x1")},
  });
}

// 8x8.
Value ScaledBlock8(Net& net, Value x, const std::string& name, float scale,
                   const graph::ActivationPtr& activation) {
  const auto scope = net.Scope(name);
  return Residual(net, x, scale, activation, {
      {Conv(192, {1, 1}, "Conv2d_1x1")},
      {Conv(192, {1, 1}, "Conv2d_0a_1x1"), Conv(224, {1, 3}, "Conv2d_0b_1x3"),
       Conv(256, {3, 1}, "Conv2d_0c_3x1")},
  });
}
Value Block8(Net& net, Value x, const std::string& name) {
  return ScaledBlock8(net, x, name, 0.2f, Relu());
}
Value LastBlock8(Net& net, Value x, const std::string& name) {
  return ScaledBlock8(net, x, name, 1.0f, nullptr);
}

Value Mixed5b(Net& net, Value x) {
  return Mixed(net, x, "Mixed_5b", {
      {Conv(96, {1, 1}, "Conv2d_1x1")},
      {Conv(48, {1, 1}, "Conv2d_0a_1x1"), Conv(64, {5, 5}, "Conv2d_0b_5x5")},
      {Conv(64, {1, 1}, "Conv2d_0a_1x1"), Conv(96, {3, 3}, "Conv2d_0b_3x3"),
       Conv(96, {3, 3}, "Conv2d_0c_3x3")},
      {AvgPool({3, 3}, "AvgPool_0a_3x3"), Conv(64, {1, 1}, "Conv2d_0b_1x1")},
  });
}

Value Mixed6a(Net& net, Value x) {
  return Mixed(net, x, "Mixed_6a", {
      {Conv(384, {3, 3}, "Conv2d_1a_3x3", {.stride = kStride2, .padding = kValid})},
      {Conv(256, {1, 1}, "Conv2d_0a_1x1"), Conv(256, {3, 3}, "Conv2d_0b_3x3"),
       Conv(384, {3, 3}, "Conv2d_1a_3x3", {.stride = kStride2, .padding = kValid})},
      {MaxPool({3, 3}, "MaxPool_1a_3x3", {.stride = kStride2, .padding = kValid})},
  });
}

Value Mixed7a(Net& net, Value x) {
  return Mixed(net, x, "Mixed_7a", {
      {Conv(256, {1, 1}, "Conv2d_0a_1x1"),
       Conv(384, {3, 3}, "Conv2d_1a_3x3", {.stride = kStride2, .padding = kValid})},
      {Conv(256, {1, 1}, "Conv2d_0a_1x1"),
       Conv(288, {3, 3}, "Conv2d_1a_3x3", {.stride = kStride2, .padding = kValid})},
      {Conv(256, {1, 1}, "Conv2d_0a_1x1"), Conv(288, {3, 3}, "Conv2d_0b_3x3"),
       Conv(320, {3, 3}, "Conv2d_1a_3x3", {.stride = kStride2, .padding = kValid})},
      {MaxPool({3, 3}, "MaxPool_1a_3x3", {.stride = kStride2, .padding = kValid})},
  });
}

// `block` n times in the scope `scope_name`, named "<name>_1" and on.
Value Repeat(Net& net, Value x, int n, const std::string& scope_name, const std::string& name,
             const std::function<Value(Net& net, Value x, const std::string& name)>& block) {
  const auto scope = net.Scope(scope_name);
  for (int i = 1; i <= n; ++i) x = block(net, x, fmt::format("{}_{}", name, i));
  return x;
}

}  // namespace

Architecture::Outputs InceptionResnetV2(Net& net, const NetworkArgs& args) {
  const auto scope = net.Scope("InceptionResnetV2");
  const auto arg_scope = ArgScope(net);
  // This network alone starts from Glorot's distribution and regularizes its biases.
  const graph::RegularizerPtr l2 = L2(0.00004f);
  const auto conv_defaults = net.Defaults(Conv2dArgs{
      .weights_initializer = graph::Xavier(), .biases_regularizer = l2});
  const auto fc_defaults = net.Defaults(FullyConnectedArgs{.biases_regularizer = l2});

  Value x = Mixed5b(net, StemOfV3(net, net.input()));
  x = Repeat(net, x, 10, "Repeat", "block35", Block35);
  x = Mixed6a(net, x);
  x = Repeat(net, x, 20, "Repeat_1", "block17", Block17);
  net.EndPoint("PreAuxLogits", x);
  const Value aux_input = x;
  x = Mixed7a(net, x);
  x = Repeat(net, x, 9, "Repeat_2", "block8", Block8);
  x = LastBlock8(net, x, "Block8");
  x = Stem(net, x, {Conv(1536, {1, 1}, "Conv2d_7b_1x1")});
  if (args.num_classes == 0) return {.logits = FullyConnectedHead(net, x, 0)};
  const Value aux_logits =
      FullyConnectedAuxHead(net, aux_input, args.num_classes, "Conv2d_2a_5x5", "Logits");
  return {.logits = FullyConnectedHead(net, x, args.num_classes), .aux_logits = aux_logits};
}

}  // namespace zood::models::inception
// clang-format on
// clang-format on
