// EfficientNet-Lite0: Liu, "Higher accuracy on vision models with EfficientNet-Lite", 2020, after
// Tan and Le, "EfficientNet", 2019: no squeeze-and-excitation, ReLU6 for Swish.
#include "models/architectures/families.h"
#include "models/architectures/layers.h"
#include "models/architectures/preprocessing.h"

namespace zood::models {
namespace {

struct Stage {
  int count;
  int kernel;
  int stride;  // of the first
  int expansion;
  int channels;
};
constexpr Stage kStages[] = {{1, 3, 1, 1, 16}, {2, 3, 2, 6, 24},  {2, 5, 2, 6, 40},
                             {3, 3, 2, 6, 80}, {3, 5, 1, 6, 112}, {4, 5, 2, 6, 192},
                             {1, 3, 1, 6, 320}};

constexpr char kScope[] = "efficientnet_lite0";

// MobileNet v2's block.
Value InvertedResidual(Net& net, Value x, const Stage& stage, int stride) {
  const Value input = x;
  if (stage.expansion > 1) {
    x = net.Conv2d(x, stage.expansion * x.channels(), {1, 1}, {.scope = "expand"});
  }
  x = net.SeparableConv2d(x, 0, {stage.kernel, stage.kernel}, 1,
                          {.stride = Size2d{stride, stride}, .scope = "depthwise"});
  x = net.Conv2d(x, stage.channels, {1, 1}, {.activation = nullptr, .scope = "project"});
  if (stride == 1 && input.channels() == stage.channels) x = net.Add(x, input);
  net.EndPoint(net.scope(), x);
  return x;
}

Architecture::Outputs EfficientNetLite0(Net& net, const NetworkArgs& args) {
  const auto scope = net.Scope(kScope);
  const auto convs = net.Defaults(Conv2dArgs{.activation = Relu6(),
                                             .normalizer = graph::BatchNorm(),
                                             .weights_initializer = VarianceScaling(),
                                             .weights_regularizer = L2(0.00001f)});
  const auto depthwise =
      net.Defaults(SeparableConv2dArgs{.activation = Relu6(),
                                       .normalizer = graph::BatchNorm(),
                                       .weights_initializer = VarianceScaling()});
  const auto norms = net.Defaults(BatchNormArgs{.decay = 0.99f, .epsilon = 0.001f, .scale = true});

  Value x = net.Conv2d(net.input(), 32, {3, 3}, {.stride = Size2d{2, 2}, .scope = "stem"});
  int block = 0;
  for (const Stage& stage : kStages) {
    for (int i = 0; i < stage.count; ++i, ++block) {
      const auto block_scope = net.Scope(fmt::format("blocks_{}", block));
      x = InvertedResidual(net, x, stage, i == 0 ? stage.stride : 1);
    }
  }
  x = net.Conv2d(x, 1280, {1, 1}, {.scope = "head"});

  x = net.Squeeze(GlobalPool(net, x));
  net.EndPoint("PreLogits", x);
  if (args.num_classes == 0) return {.logits = x};
  x = net.Dropout(x, 0.8f);
  x = net.FullyConnected(
      x, args.num_classes,
      {.activation = nullptr, .weights_regularizer = L2(0.00001f), .scope = "logits"});
  net.EndPoint("Logits", x);
  net.EndPoint("Predictions", net.Softmax(x));
  return {.logits = x};
}

std::vector<ModuleRule> PyTorchModules() {
  using enum ModuleRule::Kind;
  const std::string scope = kScope;
  const std::string block = scope + "/blocks_{}/";
  return {{"_conv_stem", scope + "/stem", kConv},
          {"_bn0", scope + "/stem/BatchNorm", kBatchNorm},
          {"_blocks.{}._expand_conv", block + "expand", kConv},
          {"_blocks.{}._bn0", block + "expand/BatchNorm", kBatchNorm},
          {"_blocks.{}._depthwise_conv", block + "depthwise", kDepthwiseConv},
          {"_blocks.{}._bn1", block + "depthwise/BatchNorm", kBatchNorm},
          {"_blocks.{}._project_conv", block + "project", kConv},
          {"_blocks.{}._bn2", block + "project/BatchNorm", kBatchNorm},
          {"_conv_head", scope + "/head", kConv},
          {"_bn1", scope + "/head/BatchNorm", kBatchNorm},
          {"_fc", scope + "/logits", kLinear}};
}

}  // namespace

std::vector<Architecture> EfficientNetLiteFamily() {
  return {{
      .name = "efficientnet_lite0",
      .family = "EfficientNet-Lite",
      .description = "EfficientNet-Lite0 (2020). The most accurate of the small networks.",
      .scope = kScope,
      .defaults = {.num_classes = 1000, .height = 224, .width = 224},
      .labels = LabelSet::kImageNet,
      .published = {{"efficientnet-lite0-57934424.pth", 75.1, std::nullopt}},
      .head_scopes = {"efficientnet_lite0/logits"},
      .pytorch_modules = PyTorchModules(),
      .build = EfficientNetLite0,
      .preprocess = EfficientNetLitePreprocessing,
  }};
}

}  // namespace zood::models
