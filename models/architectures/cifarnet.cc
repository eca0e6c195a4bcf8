// CifarNet: the network of Krizhevsky's cuda-convnet and of TensorFlow's CIFAR-10 tutorial.
#include "models/architectures/families.h"
#include "models/architectures/layers.h"
#include "models/architectures/preprocessing.h"

namespace zood::models {
namespace {

Architecture::Outputs CifarNet(Net& net, const NetworkArgs& args) {
  const auto scope = net.Scope("CifarNet");
  const auto convs = net.Defaults(Conv2dArgs{.weights_initializer = TruncatedNormal(0.05f)});
  const auto fcs = net.Defaults(FullyConnectedArgs{.weights_initializer = TruncatedNormal(0.04f),
                                                   .weights_regularizer = L2(0.004f),
                                                   .biases_initializer = Constant(0.1f)});
  const auto end_point = [&net](const std::string& name, Value x) {
    net.EndPoint(name, x);
    return x;
  };
  const graph::LrnArgs norm{
      .radius = 4, .bias = 1, .alpha = static_cast<float>(0.001 / 9), .beta = 0.75f};
  Value x = net.input();
  x = end_point("conv1", net.Conv2d(x, 64, {5, 5}, {.scope = "conv1"}));
  x = end_point("pool1", net.MaxPool2d(x, {2, 2}, {.scope = "pool1"}));
  x = net.Lrn(x, norm);
  x = end_point("conv2", net.Conv2d(x, 64, {5, 5}, {.scope = "conv2"}));
  x = net.Lrn(x, norm);
  x = end_point("pool2", net.MaxPool2d(x, {2, 2}, {.scope = "pool2"}));
  x = end_point("Flatten", net.Flatten(x));
  x = end_point("fc3", net.FullyConnected(x, 384, {.scope = "fc3"}));
  x = net.Dropout(x, 0.5f);
  x = end_point("fc4", net.FullyConnected(x, 192, {.scope = "fc4"}));
  if (args.num_classes == 0) return {.logits = x};
  x = net.FullyConnected(x, args.num_classes,
                         {.activation = nullptr,
                          .weights_initializer = TruncatedNormal(1 / 192.0f),
                          .weights_regularizer = nullptr,
                          .biases_initializer = Zeros(),
                          .scope = "logits"});
  end_point("Logits", x);
  end_point("Predictions", net.Softmax(x));
  return {.logits = x};
}

}  // namespace

std::vector<Architecture> CifarNetFamily() {
  return {{
      .name = "cifarnet",
      .family = "CifarNet",
      .description = "Two convolutions with local response normalization, for CIFAR-10. Quick to "
                     "train from scratch; made for one image size.",
      .scope = "CifarNet",
      .defaults = {.num_classes = 10, .height = 32, .width = 32},
      .labels = LabelSet::kCifar10,
      .head_scopes = {"CifarNet/logits"},
      .build = CifarNet,
      .preprocess = CifarNetPreprocessing,
  }};
}

}  // namespace zood::models
