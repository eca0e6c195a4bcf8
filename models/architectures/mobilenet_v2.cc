// MobileNet v2: Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", 2018.
#include <algorithm>
#include <array>

#include "models/architectures/families.h"
#include "models/architectures/layers.h"
#include "models/architectures/preprocessing.h"

// Tables of layers, laid out by hand.
// clang-format off
namespace zood::models {
namespace {

struct Bottlenecks {
  int channels;
  int count;
  int stride;  // of the first
};
constexpr Bottlenecks kStages[] = {{16, 1, 1}, {24, 2, 2},  {32, 3, 2}, {64, 4, 2},
                                   {96, 3, 1}, {160, 3, 2}, {320, 1, 1}};

// `full` * `width` to the nearest multiple of 8, but not less than nine tenths of it.
int Channels(int full, double width) {
  const double wanted = full * width;
  const int rounded = std::max(8, static_cast<int>(wanted + 4) / 8 * 8);
  return rounded < 0.9 * wanted ? rounded + 8 : rounded;
}

// A depthwise convolution between a 1x1 convolution up and a linear one down, and a shortcut where
// input and output have one shape. `layer` is the prefix of its end points.
Value InvertedResidual(Net& net, Value x, int channels, int expansion, int stride,
                       const std::string& layer) {
  const Value input = x;
  if (expansion > 1) {
    x = net.Conv2d(x, expansion * x.channels(), {1, 1}, {.scope = "expand"});
    net.EndPoint(layer + "/expansion_output", x);
  }
  x = net.SeparableConv2d(x, 0, {3, 3}, 1,
                          {.stride = Size2d{stride, stride}, .scope = "depthwise"});
  net.EndPoint(layer + "/depthwise_output", x);
  x = net.Conv2d(x, channels, {1, 1}, {.activation = nullptr, .scope = "project"});
  if (stride == 1 && input.channels() == channels) x = net.Add(x, input);
  net.EndPoint(layer + "/output", x);
  net.EndPoint(layer, x);
  return x;
}

// slim's training_scope; depthwise weights are not regularized.
std::array<Net::Guard, 3> ArgScope(Net& net) {
  return {net.Defaults(Conv2dArgs{.activation = Relu6(),
                                  .normalizer = graph::BatchNorm(),
                                  .weights_initializer = TruncatedNormal(0.09f),
                                  .weights_regularizer = L2(0.00004f)}),
          net.Defaults(SeparableConv2dArgs{.activation = Relu6(),
                                           .normalizer = graph::BatchNorm(),
                                           .weights_initializer = TruncatedNormal(0.09f)}),
          net.Defaults(BatchNormArgs{.decay = 0.997f, .scale = true})};
}

Architecture::Outputs MobileNetV2(Net& net, double width, int num_classes) {
  const auto scope = net.Scope("MobilenetV2");
  const auto defaults = ArgScope(net);
  Value x = net.Conv2d(net.input(), Channels(32, width), {3, 3},
                       {.stride = Size2d{2, 2}, .scope = "Conv"});
  net.EndPoint("layer_1", x);
  int block = 0;
  for (const Bottlenecks& stage : kStages) {
    for (int i = 0; i < stage.count; ++i, ++block) {
      const auto block_scope =
          net.Scope(block == 0 ? "expanded_conv" : fmt::format("expanded_conv_{}", block));
      x = InvertedResidual(net, x, Channels(stage.channels, width), block == 0 ? 1 : 6,
                           i == 0 ? stage.stride : 1, fmt::format("layer_{}", block + 2));
    }
  }
  // Narrow networks keep all of their last features.
  x = net.Conv2d(x, Channels(1280, std::max(width, 1.0)), {1, 1}, {.scope = "Conv_1"});
  net.EndPoint(fmt::format("layer_{}", block + 2), x);

  x = GlobalPool(net, x);
  if (num_classes == 0) return {.logits = net.Squeeze(x)};
  const auto logits_scope = net.Scope("Logits");
  x = ConvLogits(net, x, num_classes, "Conv2d_1c_1x1", 0.8f);
  net.EndPoint("Logits", x);
  net.EndPoint("Predictions", net.Softmax(x));
  return {.logits = x};
}

Architecture Entry(const std::string& name, double width, std::vector<Published> published) {
  return {
      .name = name,
      .family = "MobileNet v2",
      .description = fmt::format("MobileNet v2 with {:.0f} % of the channels (2018). Small, fast "
                                 "and more accurate than v1.", 100 * width),
      .scope = "MobilenetV2",
      .defaults = {.num_classes = 1001, .height = 224, .width = 224},
      .labels = LabelSet::kImageNetWithBackground,
      .published = std::move(published),
      .head_scopes = {"MobilenetV2/Logits"},
      .build = [width](Net& net, const NetworkArgs& args) {
        return MobileNetV2(net, width, args.num_classes);
      },
      .preprocess = InceptionPreprocessing,
  };
}

}  // namespace

std::vector<Architecture> MobileNetV2Family() {
  return {
      Entry("mobilenet_v2_140", 1.4, {{"mobilenet_v2_1.4_224.tgz", 74.9, 92.5, 224}}),
      Entry("mobilenet_v2_130", 1.3, {{"mobilenet_v2_1.3_224.tgz", 74.4, 92.1, 224}}),
      Entry("mobilenet_v2_100", 1.0, {{"mobilenet_v2_1.0_224.tgz", 71.9, 91.0, 224},
                                      {"mobilenet_v2_1.0_192.tgz", 70.7, 90.1, 192},
                                      {"mobilenet_v2_1.0_160.tgz", 68.8, 89.0, 160},
                                      {"mobilenet_v2_1.0_128.tgz", 65.3, 86.9, 128},
                                      {"mobilenet_v2_1.0_96.tgz", 60.3, 83.2, 96}}),
      Entry("mobilenet_v2_075", 0.75, {{"mobilenet_v2_0.75_224.tgz", 69.8, 89.6, 224},
                                       {"mobilenet_v2_0.75_192.tgz", 68.7, 88.9, 192},
                                       {"mobilenet_v2_0.75_160.tgz", 66.4, 87.3, 160},
                                       {"mobilenet_v2_0.75_128.tgz", 63.2, 85.3, 128},
                                       {"mobilenet_v2_0.75_96.tgz", 58.8, 81.6, 96}}),
      Entry("mobilenet_v2_050", 0.5, {{"mobilenet_v2_0.5_224.tgz", 65.4, 86.4, 224},
                                      {"mobilenet_v2_0.5_192.tgz", 63.9, 85.4, 192},
                                      {"mobilenet_v2_0.5_160.tgz", 61.0, 83.2, 160},
                                      {"mobilenet_v2_0.5_128.tgz", 57.7, 80.8, 128},
                                      {"mobilenet_v2_0.5_96.tgz", 51.2, 75.8, 96}}),
      Entry("mobilenet_v2_035", 0.35, {{"mobilenet_v2_0.35_224.tgz", 60.3, 82.9, 224},
                                       {"mobilenet_v2_0.35_192.tgz", 58.2, 81.2, 192},
                                       {"mobilenet_v2_0.35_160.tgz", 55.7, 79.1, 160},
                                       {"mobilenet_v2_0.35_128.tgz", 50.8, 75.0, 128},
                                       {"mobilenet_v2_0.35_96.tgz", 45.5, 70.4, 96}}),
  };
}

}  // namespace zood::models
// clang-format on
