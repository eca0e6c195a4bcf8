// Inception v4 (Szegedy et al., "Inception-v4, Inception-ResNet and the impact of residual
// connections on learning", AAAI 2017), as published in slim.
#include "models/architectures/inception_common.h"

// Tables of layers, laid out by hand.
// clang-format off
namespace zood::models::inception {
namespace {

Value InputStem(Net& net, Value x) {
  x = Stem(net, x, {
      Conv(32, {3, 3}, "Conv2d_1a_3x3", {.stride = kStride2, .padding = kValid}),
      Conv(32, {3, 3}, "Conv2d_2a_3x3", {.padding = kValid}),
      Conv(64, {3, 3}, "Conv2d_2b_3x3"),
  });
  x = Mixed(net, x, "Mixed_3a", {
      {MaxPool({3, 3}, "MaxPool_0a_3x3", {.stride = kStride2, .padding = kValid})},
      {Conv(96, {3, 3}, "Conv2d_0a_3x3", {.stride = kStride2, .padding = kValid})},
  });
  x = Mixed(net, x, "Mixed_4a", {
      {Conv(64, {1, 1}, "Conv2d_0a_1x1"),
       Conv(96, {3, 3}, "Conv2d_1a_3x3", {.padding = kValid})},
      {Conv(64, {1, 1}, "Conv2d_0a_1x1"), Conv(64, {1, 7}, "Conv2d_0b_1x7"),
       Conv(64, {7, 1}, "Conv2d_0c_7x1"),
       Conv(96, {3, 3}, "Conv2d_1a_3x3", {.padding = kValid})},
  });
  return Mixed(net, x, "Mixed_5a", {
      {Conv(192, {3, 3}, "Conv2d_1a_3x3", {.stride = kStride2, .padding = kValid})},
      {MaxPool({3, 3}, "MaxPool_1a_3x3", {.stride = kStride2, .padding = kValid})},
  });
}

// 35x35 at the network's own image size.
Value BlockA(Net& net, Value x, const std::string& name) {
  return Mixed(net, x, name, {
      {Conv(96, {1, 1}, "Conv2d_0a_1x1")},
      {Conv(64, {1, 1}, "Conv2d_0a_1x1"), Conv(96, {3, 3}, "Conv2d_0b_3x3")},
      {Conv(64, {1, 1}, "Conv2d_0a_1x1"), Conv(96, {3, 3}, "Conv2d_0b_3x3"),
       Conv(96, {3, 3}, "Conv2d_0c_3x3")},
      {AvgPool({3, 3}, "AvgPool_0a_3x3"), Conv(96, {1, 1}, "Conv2d_0b_1x1")},
  });
}

Value ReductionA(Net& net, Value x, const std::string& name) {
  return Mixed(net, x, name, {
      {Conv(384, {3, 3}, "Conv2d_1a_3x3", {.stride = kStride2, .padding = kValid})},
      {Conv(192, {1, 1}, "Conv2d_0a_1x1"), Conv(224, {3, 3}, "Conv2d_0b_3x3"),
       Conv(256, {3, 3}, "Conv2d_1a_3x3", {.stride = kStride2, .padding = kValid})},
      {MaxPool({3, 3}, "MaxPool_1a_3x3", {.stride = kStride2, .padding = kValid})},
  });
}

// 17x17.
Value BlockB(Net& net, Value x, const std::string& name) {
  return Mixed(net, x, name, {
      {Conv(384, {1, 1}, "Conv2d_0a_1x1")},
      {Conv(192, {1, 1}, "Conv2d_0a_1x1"), Conv(224, {1, 7}, "Conv2d_0b_1x7"),
       Conv(256, {7, 1}, "Conv2d_0c_7x1")},
      {Conv(192, {1, 1}, "Conv2d_0a_1x1"), Conv(192, {7, 1}, "Conv2d_0b_7x1"),
       Conv(224, {1, 7}, "Conv2d_0c_1x7"), Conv(224, {7, 1}, "Conv2d_0d_7x1"),
       Conv(256, {1, 7}, "Conv2d_0e_1x7")},
      {AvgPool({3, 3}, "AvgPool_0a_3x3"), Conv(128, {1, 1}, "Conv2d_0b_1x1")},
  });
}

Value ReductionB(Net& net, Value x, const std::string& name) {
  return Mixed(net, x, name, {
      {Conv(192, {1, 1}, "Conv2d_0a_1x1"),
       Conv(192, {3, 3}, "Conv2d_1a_3x3", {.stride = kStride2, .padding = kValid})},
      {Conv(256, {1, 1}, "Conv2d_0a_1x1"), Conv(256, {1, 7}, "Conv2d_0b_1x7"),
       Conv(320, {7, 1}, "Conv2d_0c_7x1"),
       Conv(320, {3, 3}, "Conv2d_1a_3x3", {.stride = kStride2, .padding = kValid})},
      {MaxPool({3, 3}, "MaxPool_1a_3x3", {.stride = kStride2, .padding = kValid})},
  });
}

// 8x8.
Value BlockC(Net& net, Value x, const std::string& name) {
  return Mixed(net, x, name, {
      {Conv(256, {1, 1}, "Conv2d_0a_1x1")},
      {Conv(384, {1, 1}, "Conv2d_0a_1x1"),
       Fork({Conv(256, {1, 3}, "Conv2d_0b_1x3"), Conv(256, {3, 1}, "Conv2d_0c_3x1")})},
      {Conv(384, {1, 1}, "Conv2d_0a_1x1"), Conv(448, {3, 1}, "Conv2d_0b_3x1"),
       Conv(512, {1, 3}, "Conv2d_0c_1x3"),
       Fork({Conv(256, {1, 3}, "Conv2d_0d_1x3"), Conv(256, {3, 1}, "Conv2d_0e_3x1")})},
      {AvgPool({3, 3}, "AvgPool_0a_3x3"), Conv(256, {1, 1}, "Conv2d_0b_1x1")},
  });
}

}  // namespace

Architecture::Outputs InceptionV4(Net& net, const NetworkArgs& args) {
  const auto scope = net.Scope("InceptionV4");
  const auto arg_scope = ArgScope(net);
  Value x = InputStem(net, net.input());
  for (const char* name : {"Mixed_5b", "Mixed_5c", "Mixed_5d", "Mixed_5e"}) {
    x = BlockA(net, x, name);
  }
  x = ReductionA(net, x, "Mixed_6a");
  for (const char* name : {"Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e", "Mixed_6f", "Mixed_6g",
                           "Mixed_6h"}) {
    x = BlockB(net, x, name);
  }
  const Value aux_input = x;
  x = ReductionB(net, x, "Mixed_7a");
  for (const char* name : {"Mixed_7b", "Mixed_7c", "Mixed_7d"}) x = BlockC(net, x, name);
  if (args.num_classes == 0) return {.logits = FullyConnectedHead(net, x, 0)};
  const Value aux_logits =
      FullyConnectedAuxHead(net, aux_input, args.num_classes, "Conv2d_2a", "Aux_logits");
  return {.logits = FullyConnectedHead(net, x, args.num_classes), .aux_logits = aux_logits};
}

}  // namespace zood::models::inception
// clang-format on
// clang-format on
