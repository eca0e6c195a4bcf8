// AlexNet v2: Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014,
// without its local response normalization, as slim has it.
#include "models/architectures/families.h"
#include "models/architectures/layers.h"
#include "models/architectures/preprocessing.h"

namespace zood::models {
namespace {

Architecture::Outputs AlexNetV2(Net& net, const NetworkArgs& args) {
  const auto scope = net.Scope("alexnet_v2");
  const auto convs = net.Defaults(
      Conv2dArgs{.weights_regularizer = L2(0.0005f), .biases_initializer = Constant(0.1f)});
  const auto collected = net.CollectEndPoints();
  Value x = net.input();
  x = net.Conv2d(x, 64, {11, 11}, {.stride = Size2d{4, 4}, .padding = kValid, .scope = "conv1"});
  x = net.MaxPool2d(x, {3, 3}, {.scope = "pool1"});
  x = net.Conv2d(x, 192, {5, 5}, {.scope = "conv2"});
  x = net.MaxPool2d(x, {3, 3}, {.scope = "pool2"});
  x = net.Conv2d(x, 384, {3, 3}, {.scope = "conv3"});
  x = net.Conv2d(x, 384, {3, 3}, {.scope = "conv4"});
  x = net.Conv2d(x, 256, {3, 3}, {.scope = "conv5"});
  x = net.MaxPool2d(x, {3, 3}, {.scope = "pool5"});

  const auto fcs = net.Defaults(Conv2dArgs{.weights_initializer = TruncatedNormal(0.005f)});
  x = net.Conv2d(x, 4096, {5, 5}, {.padding = kValid, .scope = "fc6"});
  x = net.Dropout(x, 0.5f);
  x = net.Conv2d(x, 4096, {1, 1}, {.scope = "fc7"});
  return {.logits = Fc8(net, x, args.num_classes)};
}

}  // namespace

std::vector<Architecture> AlexNetFamily() {
  return {{
      .name = "alexnet_v2",
      .family = "AlexNet",
      .description = "AlexNet in one column, without normalization (2014). Small maps, fast "
                     "layers, most of its weights in fc6.",
      .scope = "alexnet_v2",
      .defaults = {.num_classes = 1000, .height = 224, .width = 224},
      .labels = LabelSet::kImageNet,
      .head_scopes = {"alexnet_v2/fc8"},
      .build = AlexNetV2,
      .preprocess = VggPreprocessing,
  }};
}

}  // namespace zood::models
