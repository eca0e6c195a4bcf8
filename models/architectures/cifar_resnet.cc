// ResNets for CIFAR-10: He et al., "Deep Residual Learning for Image Recognition", 2015, section
// 4.2, with parameter-free shortcuts (option A). Trained in PyTorch by Yerlan Idelbayev
// (https://github.com/akamaster/pytorch_resnet_cifar10).
#include "models/architectures/families.h"
#include "models/architectures/layers.h"
#include "models/architectures/preprocessing.h"

namespace zood::models {
namespace {

// relu(x + residual(x)), two 3x3 convolutions. Where the map shrinks, the shortcut takes every
// second row and column and fills the new channels with zeros.
Value BasicUnit(Net& net, Value x, int channels, int stride) {
  Value shortcut = x;
  if (stride > 1) {
    const int missing = channels - x.channels();
    shortcut = net.MaxPool2d(x, {1, 1}, {.stride = Size2d{stride, stride}, .scope = "shortcut"});
    shortcut = net.PadChannels(shortcut, missing / 2, missing - missing / 2);
  }
  x = net.Conv2d(x, channels, {3, 3}, {.stride = Size2d{stride, stride}, .scope = "conv1"});
  x = net.Conv2d(x, channels, {3, 3}, {.activation = nullptr, .scope = "conv2"});
  return net.Apply(net.Add(shortcut, x), Relu());
}

Architecture::Outputs CifarResNet(Net& net, const std::string& name, int units, int num_classes) {
  const auto scope = net.Scope(name);
  const auto convs = net.Defaults(Conv2dArgs{.padding = kFixed,
                                             .normalizer = graph::BatchNorm(),
                                             .weights_initializer = VarianceScaling(),
                                             .weights_regularizer = L2(0.0001f)});
  const auto norms = net.Defaults(BatchNormArgs{.decay = 0.9f, .epsilon = 1e-5f, .scale = true});
  Value x = net.Conv2d(net.input(), 16, {3, 3}, {.scope = "conv1"});
  for (int block = 1; block <= 3; ++block) {
    const auto block_scope = net.Scope(fmt::format("block{}", block));
    for (int unit = 1; unit <= units; ++unit) {
      const auto unit_scope = net.Scope(fmt::format("unit_{}", unit));
      x = BasicUnit(net, x, 8 << block, block > 1 && unit == 1 ? 2 : 1);
    }
    net.EndPoint(net.scope(), x);
  }
  x = net.Squeeze(GlobalPool(net, x));
  if (num_classes == 0) return {.logits = x};
  x = net.FullyConnected(x, num_classes,
                         {.activation = nullptr,
                          .weights_initializer = VarianceScaling(),
                          .weights_regularizer = L2(0.0001f),
                          .scope = "logits"});
  net.EndPoint("Logits", x);
  net.EndPoint("Predictions", net.Softmax(x));
  return {.logits = x};
}

std::vector<ModuleRule> PyTorchModules(const std::string& scope) {
  using enum ModuleRule::Kind;
  const std::string unit = scope + "/block{}/unit_{+1}/";
  return {{"conv1", scope + "/conv1", kConv},
          {"bn1", scope + "/conv1/BatchNorm", kBatchNorm},
          {"layer{}.{}.conv{}", unit + "conv{}", kConv},
          {"layer{}.{}.bn{}", unit + "conv{}/BatchNorm", kBatchNorm},
          {"linear", scope + "/logits", kLinear}};
}

Architecture Entry(int layers, const Published& published) {
  const std::string name = fmt::format("cifar_resnet{}", layers);
  const int units = (layers - 2) / 6;
  return {
      .name = name,
      .family = "CIFAR ResNet",
      .description = fmt::format("Residual network with {} layers for 32x32 images (2015). Tiny: "
                                 "16 to 64 channels.",
                                 layers),
      .scope = name,
      .defaults = {.num_classes = 10, .height = 32, .width = 32},
      .labels = LabelSet::kCifar10,
      .published = {published},
      .head_scopes = {name + "/logits"},
      .pytorch_modules = PyTorchModules(name),
      .build =
          [name, units](Net& net, const NetworkArgs& args) {
            return CifarResNet(net, name, units, args.num_classes);
          },
      .preprocess = CifarResNetPreprocessing,
  };
}

}  // namespace

std::vector<Architecture> CifarResNetFamily() {
  return {
      Entry(20, {"resnet20-12fca82f.th", 91.73, std::nullopt}),
      Entry(32, {"resnet32-d509ac18.th", 92.63, std::nullopt}),
      Entry(44, {"resnet44-014dd654.th", 93.10, std::nullopt}),
      Entry(56, {"resnet56-4bfd9763.th", 93.39, std::nullopt}),
      Entry(110, {"resnet110-1d1ed7c2.th", 93.68, std::nullopt}),
  };
}

}  // namespace zood::models
