// OverFeat: Sermanet et al., "OverFeat: Integrated Recognition, Localization and Detection using
// Convolutional Networks", 2014; the fast variant.
#include "models/architectures/families.h"
#include "models/architectures/layers.h"
#include "models/architectures/preprocessing.h"

namespace zood::models {
namespace {

Architecture::Outputs OverFeat(Net& net, const NetworkArgs& args) {
  const auto scope = net.Scope("overfeat");
  const auto convs = net.Defaults(Conv2dArgs{.weights_regularizer = L2(0.0005f)});
  const auto collected = net.CollectEndPoints();
  Value x = net.input();
  x = net.Conv2d(x, 64, {11, 11}, {.stride = Size2d{4, 4}, .padding = kValid, .scope = "conv1"});
  x = net.MaxPool2d(x, {2, 2}, {.scope = "pool1"});
  x = net.Conv2d(x, 256, {5, 5}, {.padding = kValid, .scope = "conv2"});
  x = net.MaxPool2d(x, {2, 2}, {.scope = "pool2"});
  x = net.Conv2d(x, 512, {3, 3}, {.scope = "conv3"});
  x = net.Conv2d(x, 1024, {3, 3}, {.scope = "conv4"});
  x = net.Conv2d(x, 1024, {3, 3}, {.scope = "conv5"});
  x = net.MaxPool2d(x, {2, 2}, {.scope = "pool5"});

  const auto fcs = net.Defaults(Conv2dArgs{.weights_initializer = TruncatedNormal(0.005f),
                                           .biases_initializer = Constant(0.1f)});
  x = net.Conv2d(x, 3072, {6, 6}, {.padding = kValid, .scope = "fc6"});
  x = net.Dropout(x, 0.5f);
  x = net.Conv2d(x, 4096, {1, 1}, {.scope = "fc7"});
  return {.logits = Fc8(net, x, args.num_classes)};
}

}  // namespace

std::vector<Architecture> OverFeatFamily() {
  return {{
      .name = "overfeat",
      .family = "OverFeat",
      .description = "OverFeat, the fast variant (2014). AlexNet's successor with wider layers.",
      .scope = "overfeat",
      .defaults = {.num_classes = 1000, .height = 231, .width = 231},
      .labels = LabelSet::kImageNet,
      .head_scopes = {"overfeat/fc8"},
      .build = OverFeat,
      .preprocess = VggPreprocessing,
  }};
}

}  // namespace zood::models
