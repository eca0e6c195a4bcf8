// MobileNet v1: Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile
// Vision Applications", 2017.
#include <algorithm>

#include "models/architectures/families.h"
#include "models/architectures/layers.h"
#include "models/architectures/preprocessing.h"

// Tables of layers, laid out by hand.
// clang-format off
namespace zood::models {
namespace {

struct Separable {
  int stride;
  int channels;
};
constexpr Separable kLayers[] = {{1, 64},  {2, 128}, {1, 128}, {2, 256}, {1, 256},
                                 {2, 512}, {1, 512}, {1, 512}, {1, 512}, {1, 512},
                                 {1, 512}, {2, 1024}, {1, 1024}};

Architecture::Outputs MobileNetV1(Net& net, double width, int num_classes) {
  const auto scope = net.Scope("MobilenetV1");
  const auto convs = net.Defaults(Conv2dArgs{.activation = Relu6(),
                                             .normalizer = graph::BatchNorm(),
                                             .weights_initializer = TruncatedNormal(0.09f),
                                             .weights_regularizer = L2(0.00004f)});
  const auto depthwise = net.Defaults(SeparableConv2dArgs{
      .activation = Relu6(), .normalizer = graph::BatchNorm(),
      .weights_initializer = TruncatedNormal(0.09f)});
  const auto norms = net.Defaults(BatchNormArgs{.decay = 0.9997f, .scale = true});
  const auto channels = [width](int full) { return std::max(static_cast<int>(full * width), 8); };
  const auto end_point = [&net](const std::string& name, Value x) {
    net.EndPoint(name, x);
    return x;
  };

  Value x = end_point("Conv2d_0", net.Conv2d(net.input(), channels(32), {3, 3},
                                             {.stride = Size2d{2, 2}, .scope = "Conv2d_0"}));
  for (int i = 1; const Separable& layer : kLayers) {
    std::string name = fmt::format("Conv2d_{}_depthwise", i);
    x = net.SeparableConv2d(x, 0, {3, 3}, 1,
                            {.stride = Size2d{layer.stride, layer.stride}, .scope = name});
    x = end_point(name, x);
    name = fmt::format("Conv2d_{}_pointwise", i++);
    x = end_point(name, net.Conv2d(x, channels(layer.channels), {1, 1}, {.scope = name}));
  }

  x = HeadPool(net, x, {7, 7}, "AvgPool_1a");
  if (num_classes == 0) return {.logits = net.Squeeze(x)};
  const auto logits_scope = net.Scope("Logits");
  x = end_point("Logits", ConvLogits(net, x, num_classes, "Conv2d_1c_1x1", 0.999f));
  end_point("Predictions", net.Softmax(x));
  return {.logits = x};
}

Architecture Entry(const std::string& name, double width, std::vector<Published> published) {
  return {
      .name = name,
      .family = "MobileNet v1",
      .description = fmt::format("MobileNet with {:.0f} % of the channels (2017). Small and fast.",
                                 100 * width),
      .scope = "MobilenetV1",
      .defaults = {.num_classes = 1001, .height = 224, .width = 224},
      .labels = LabelSet::kImageNetWithBackground,
      .published = std::move(published),
      .head_scopes = {"MobilenetV1/Logits"},
      .build = [width](Net& net, const NetworkArgs& args) {
        return MobileNetV1(net, width, args.num_classes);
      },
      .preprocess = InceptionPreprocessing,
  };
}

}  // namespace

std::vector<Architecture> MobileNetV1Family() {
  return {
      Entry("mobilenet_v1_100", 1.0, {{"mobilenet_v1_1.0_224.tgz", 70.9, 89.9, 224},
                                      {"mobilenet_v1_1.0_192.tgz", 70.0, 89.2, 192},
                                      {"mobilenet_v1_1.0_160.tgz", 68.0, 87.7, 160},
                                      {"mobilenet_v1_1.0_128.tgz", 65.2, 85.8, 128}}),
      Entry("mobilenet_v1_075", 0.75, {{"mobilenet_v1_0.75_224.tgz", 68.4, 88.2, 224},
                                       {"mobilenet_v1_0.75_192.tgz", 67.2, 87.3, 192},
                                       {"mobilenet_v1_0.75_160.tgz", 65.3, 86.0, 160},
                                       {"mobilenet_v1_0.75_128.tgz", 62.1, 83.9, 128}}),
      Entry("mobilenet_v1_050", 0.5, {{"mobilenet_v1_0.5_224.tgz", 63.3, 84.9, 224},
                                      {"mobilenet_v1_0.5_192.tgz", 61.7, 83.6, 192},
                                      {"mobilenet_v1_0.5_160.tgz", 59.1, 81.9, 160},
                                      {"mobilenet_v1_0.5_128.tgz", 56.3, 79.4, 128}}),
      Entry("mobilenet_v1_025", 0.25, {{"mobilenet_v1_0.25_224.tgz", 49.8, 74.2, 224},
                                       {"mobilenet_v1_0.25_192.tgz", 47.7, 72.3, 192},
                                       {"mobilenet_v1_0.25_160.tgz", 45.5, 70.3, 160},
                                       {"mobilenet_v1_0.25_128.tgz", 41.5, 66.3, 128}}),
  };
}

}  // namespace zood::models
// clang-format on
