// LeNet: LeCun et al., "Gradient-based learning applied to document recognition", 1998, in slim's
// modern form.
#include "models/architectures/families.h"
#include "models/architectures/layers.h"
#include "models/architectures/preprocessing.h"

namespace zood::models {
namespace {

Architecture::Outputs LeNet(Net& net, const NetworkArgs& args) {
  const auto scope = net.Scope("LeNet");
  // A weight decay of 0 by default, where training may set another.
  const auto convs = net.Defaults(
      Conv2dArgs{.weights_initializer = TruncatedNormal(0.1f), .weights_regularizer = L2(0)});
  const auto fcs = net.Defaults(FullyConnectedArgs{.weights_initializer = TruncatedNormal(0.1f),
                                                   .weights_regularizer = L2(0)});
  const auto end_point = [&net](const std::string& name, Value x) {
    net.EndPoint(name, x);
    return x;
  };
  Value x = net.input();
  x = end_point("conv1", net.Conv2d(x, 32, {5, 5}, {.scope = "conv1"}));
  x = end_point("pool1", net.MaxPool2d(x, {2, 2}, {.scope = "pool1"}));
  x = end_point("conv2", net.Conv2d(x, 64, {5, 5}, {.scope = "conv2"}));
  x = end_point("pool2", net.MaxPool2d(x, {2, 2}, {.scope = "pool2"}));
  x = end_point("Flatten", net.Flatten(x));
  x = end_point("fc3", net.FullyConnected(x, 1024, {.scope = "fc3"}));
  x = end_point("dropout3", net.Dropout(x, 0.5f));
  if (args.num_classes == 0) return {.logits = x};
  x = net.FullyConnected(x, args.num_classes, {.activation = nullptr, .scope = "fc4"});
  end_point("Logits", x);
  end_point("Predictions", net.Softmax(x));
  return {.logits = x};
}

}  // namespace

std::vector<Architecture> LeNetFamily() {
  return {{
      .name = "lenet",
      .family = "LeNet",
      .description = "LeNet for gray digits and the like (1998). Quick to train from scratch; made "
                     "for one image size.",
      .scope = "LeNet",
      .defaults = {.num_classes = 10, .height = 28, .width = 28, .channels = 1},
      .labels = LabelSet::kNumbers,
      .head_scopes = {"LeNet/fc4"},
      .build = LeNet,
      .preprocess = LeNetPreprocessing,
  }};
}

}  // namespace zood::models
