// Inception v3 (Szegedy et al., "Rethinking the Inception architecture for computer vision", CVPR
// 2016), as published in slim.
#include <fmt/format.h>

#include <algorithm>

#include "models/architectures/inception_common.h"

// Tables of layers, laid out by hand.
// clang-format off
namespace zood::models::inception {
namespace {

// 35x35 at the network's own image size.
Value BlockA(Net& net, Value x, const std::string& name, int pool_width,
             const std::string& reduce_name = "Conv2d_0a_1x1",
             const std::string& conv_name = "Conv2d_0b_5x5") {
  return Mixed(net, x, name, {
      {Conv(64, {1, 1}, "Conv2d_0a_1x1")},
      {Conv(48, {1, 1}, reduce_name), Conv(64, {5, 5}, conv_name)},
      {Conv(64, {1, 1}, "Conv2d_0a_1x1"), Conv(96, {3, 3}, "Conv2d_0b_3x3"),
       Conv(96, {3, 3}, "Conv2d_0c_3x3")},
      {AvgPool({3, 3}, "AvgPool_0a_3x3"), Conv(pool_width, {1, 1}, "Conv2d_0b_1x1")},
  });
}

Value ReductionA(Net& net, Value x, const std::string& name) {
  return Mixed(net, x, name, {
      {Conv(384, {3, 3}, "Conv2d_1a_1x1", {.stride = kStride2, .padding = kValid})},
      {Conv(64, {1, 1}, "Conv2d_0a_1x1"), Conv(96, {3, 3}, "Conv2d_0b_3x3"),
       Conv(96, {3, 3}, "Conv2d_1a_1x1", {.stride = kStride2, .padding = kValid})},
      {MaxPool({3, 3}, "MaxPool_1a_3x3", {.stride = kStride2, .padding = kValid})},
  });
}

// 17x17.
Value BlockB(Net& net, Value x, const std::string& name, int width) {
  return Mixed(net, x, name, {
      {Conv(192, {1, 1}, "Conv2d_0a_1x1")},
      {Conv(width, {1, 1}, "Conv2d_0a_1x1"), Conv(width, {1, 7}, "Conv2d_0b_1x7"),
       Conv(192, {7, 1}, "Conv2d_0c_7x1")},
      {Conv(width, {1, 1}, "Conv2d_0a_1x1"), Conv(width, {7, 1}, "Conv2d_0b_7x1"),
       Conv(width, {1, 7}, "Conv2d_0c_1x7"), Conv(width, {7, 1}, "Conv2d_0d_7x1"),
       Conv(192, {1, 7}, "Conv2d_0e_1x7")},
      {AvgPool({3, 3}, "AvgPool_0a_3x3"), Conv(192, {1, 1}, "Conv2d_0b_1x1")},
  });
}

Value ReductionB(Net& net, Value x, const std::string& name) {
  return Mixed(net, x, name, {
      {Conv(192, {1, 1}, "Conv2d_0a_1x1"),
       Conv(320, {3, 3}, "Conv2d_1a_3x3", {.stride = kStride2, .padding = kValid})},
      {Conv(192, {1, 1}, "Conv2d_0a_1x1"), Conv(192, {1, 7}, "Conv2d_0b_1x7"),
       Conv(192, {7, 1}, "Conv2d_0c_7x1"),
       Conv(192, {3, 3}, "Conv2d_1a_3x3", {.stride = kStride2, .padding = kValid})},
      {MaxPool({3, 3}, "MaxPool_1a_3x3", {.stride = kStride2, .padding = kValid})},
  });
}

// 8x8. The two blocks of this kind differ in one name.
Value BlockC(Net& net, Value x, const std::string& name, const std::string& name_3x1) {
  return Mixed(net, x, name, {
      {Conv(320, {1, 1}, "Conv2d_0a_1x1")},
      {Conv(384, {1, 1}, "Conv2d_0a_1x1"),
       Fork({Conv(384, {1, 3}, "Conv2d_0b_1x3"), Conv(384, {3, 1}, name_3x1)})},
      {Conv(448, {1, 1}, "Conv2d_0a_1x1"), Conv(384, {3, 3}, "Conv2d_0b_3x3"),
       Fork({Conv(384, {1, 3}, "Conv2d_0c_1x3"), Conv(384, {3, 1}, "Conv2d_0d_3x1")})},
      {AvgPool({3, 3}, "AvgPool_0a_3x3"), Conv(192, {1, 1}, "Conv2d_0b_1x1")},
  });
}

// The second convolution covers the whole map, 5x5, and is named after the kernel that a smaller
// map leaves of it; of a larger map's answers this takes the mean.
Value AuxHead(Net& net, Value x, int num_classes) {
  const auto scope = net.Scope("AuxLogits");
  x = net.AvgPool2d(x, {5, 5},
                    {.stride = Size2d{3, 3}, .padding = kValid, .scope = "AvgPool_1a_5x5"});
  x = net.Conv2d(x, 128, {1, 1}, {.scope = "Conv2d_1b_1x1"});
  const Size2d kernel{std::min(x.height(), 5), std::min(x.width(), 5)};
  x = net.Conv2d(x, 768, kernel,
                 {.padding = kValid,
                  .weights_initializer = TruncatedNormal(0.01f),
                  .scope = fmt::format("Conv2d_2a_{}x{}", kernel.height, kernel.width)});
  if (x.height() > 1 || x.width() > 1) x = net.GlobalAvgPool(x);
  const auto defaults = net.Defaults(Conv2dArgs{.weights_initializer = TruncatedNormal(0.001f)});
  x = ConvLogits(net, x, num_classes, "Conv2d_2b_1x1");
  net.EndPoint("AuxLogits", x);
  return x;
}

}  // namespace

Architecture::Outputs InceptionV3(Net& net, const NetworkArgs& args) {
  const auto scope = net.Scope("InceptionV3");
  const auto arg_scope = ArgScope(net);
  Value x = StemOfV3(net, net.input());
  x = BlockA(net, x, "Mixed_5b", 32);
  x = BlockA(net, x, "Mixed_5c", 64, "Conv2d_0b_1x1", "Conv_1_0c_5x5");
  x = BlockA(net, x, "Mixed_5d", 64);
  x = ReductionA(net, x, "Mixed_6a");
  x = BlockB(net, x, "Mixed_6b", 128);
  x = BlockB(net, x, "Mixed_6c", 160);
  x = BlockB(net, x, "Mixed_6d", 160);
  x = BlockB(net, x, "Mixed_6e", 192);
  const Value aux_input = x;
  x = ReductionB(net, x, "Mixed_7a");
  x = BlockC(net, x, "Mixed_7b", "Conv2d_0b_3x1");
  x = BlockC(net, x, "Mixed_7c", "Conv2d_0c_3x1");
  if (args.num_classes == 0) return {.logits = ConvHead(net, x, {8, 8}, 0)};
  const Value aux_logits = AuxHead(net, aux_input, args.num_classes);
  return {.logits = ConvHead(net, x, {8, 8}, args.num_classes), .aux_logits = aux_logits};
}

}  // namespace zood::models::inception
// clang-format on
// clang-format on
