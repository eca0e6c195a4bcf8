#include "models/architectures/inception_common.h"

#include <fmt/format.h>

#include <utility>

namespace zood::models::inception {
namespace {

Value Chain(Net& net, Value x, const Branch& branch) {
  for (const Layer& layer : branch) x = layer.apply(net, x);
  return x;
}

}  // namespace

Layer Conv(int channels, Size2d kernel, const std::string& scope, Conv2dArgs args) {
  args.scope = scope;
  return {scope, [channels, kernel, args = std::move(args)](Net& net, Value x) {
            return net.Conv2d(x, channels, kernel, args);
          }};
}

Layer MaxPool(Size2d kernel, const std::string& scope, Pool2dArgs args) {
  args.scope = scope;
  return {scope, [kernel, args = std::move(args)](Net& net, Value x) {
            return net.MaxPool2d(x, kernel, args);
          }};
}

Layer AvgPool(Size2d kernel, const std::string& scope, Pool2dArgs args) {
  args.scope = scope;
  return {scope, [kernel, args = std::move(args)](Net& net, Value x) {
            return net.AvgPool2d(x, kernel, args);
          }};
}

Layer Fork(std::vector<Layer> layers) {
  return {"", [layers = std::move(layers)](Net& net, Value x) {
            std::vector<Value> outputs;
            for (const Layer& layer : layers) outputs.push_back(layer.apply(net, x));
            return net.Concat(outputs);
          }};
}

Value Stem(Net& net, Value x, const std::vector<Layer>& layers) {
  for (const Layer& layer : layers) {
    x = layer.apply(net, x);
    net.EndPoint(layer.scope, x);
  }
  return x;
}

Value Branches(Net& net, Value x, const std::vector<Branch>& branches) {
  std::vector<Value> outputs;
  for (const Branch& branch : branches) {
    const auto scope = net.Scope(fmt::format("Branch_{}", outputs.size()));
    outputs.push_back(Chain(net, x, branch));
  }
  return net.Concat(outputs);
}

Value Mixed(Net& net, Value x, const std::string& name, const std::vector<Branch>& branches) {
  const auto scope = net.Scope(name);
  x = Branches(net, x, branches);
  net.EndPoint(name, x);
  return x;
}

std::array<Net::Guard, 3> ArgScope(Net& net) {
  const graph::RegularizerPtr l2 = L2(0.00004f);
  return {net.Defaults(Conv2dArgs{
              .normalizer = graph::BatchNorm({.decay = 0.9997f, .epsilon = 0.001f}),
              .weights_initializer = VarianceScaling(),
              .weights_regularizer = l2,
          }),
          net.Defaults(FullyConnectedArgs{.weights_regularizer = l2}),
          net.Defaults(Pool2dArgs{.stride = Size2d{1, 1}, .padding = kSame})};
}

Value ConvHead(Net& net, Value x, Size2d window, int num_classes) {
  const auto scope = net.Scope("Logits");
  x = HeadPool(net, x, window, "AvgPool_1a");
  if (num_classes == 0) return net.Squeeze(x);
  x = net.Dropout(x, kKeepProbability);
  net.EndPoint("PreLogits", x);
  return Classify(net, ConvLogits(net, x, num_classes, "Conv2d_1c_1x1"));
}

Value FullyConnectedHead(Net& net, Value x, int num_classes) {
  const auto scope = net.Scope("Logits");
  x = net.Squeeze(GlobalPool(net, x));
  if (num_classes == 0) return x;
  x = net.Dropout(x, kKeepProbability);
  net.EndPoint("PreLogitsFlatten", x);
  x = net.FullyConnected(x, num_classes, {.activation = nullptr, .scope = "Logits"});
  return Classify(net, x);
}

Value FullyConnectedAuxHead(Net& net, Value x, int num_classes, const std::string& conv_scope,
                            const std::string& logits_scope) {
  const auto scope = net.Scope("AuxLogits");
  x = net.AvgPool2d(x, {5, 5},
                    {.stride = Size2d{3, 3}, .padding = kValid, .scope = "AvgPool_1a_5x5"});
  x = net.Conv2d(x, 128, {1, 1}, {.scope = "Conv2d_1b_1x1"});
  x = net.Conv2d(x, 768, {x.height(), x.width()}, {.padding = kValid, .scope = conv_scope});
  x = net.FullyConnected(net.Flatten(x), num_classes,
                         {.activation = nullptr, .scope = logits_scope});
  net.EndPoint("AuxLogits", x);
  return x;
}

Value Classify(Net& net, Value logits) {
  net.EndPoint("Logits", logits);
  net.EndPoint("Predictions", net.Softmax(logits));
  return logits;
}

Value StemOfV3(Net& net, Value x) {
  const auto conv_defaults = net.Defaults(Conv2dArgs{.padding = kValid});
  const auto pool_defaults = net.Defaults(Pool2dArgs{.stride = kStride2, .padding = kValid});
  return Stem(net, x,
              {
                  Conv(32, {3, 3}, "Conv2d_1a_3x3", {.stride = kStride2}),
                  Conv(32, {3, 3}, "Conv2d_2a_3x3"),
                  Conv(64, {3, 3}, "Conv2d_2b_3x3", {.padding = kSame}),
                  MaxPool({3, 3}, "MaxPool_3a_3x3"),
                  Conv(80, {1, 1}, "Conv2d_3b_1x1"),
                  Conv(192, {3, 3}, "Conv2d_4a_3x3"),
                  MaxPool({3, 3}, "MaxPool_5a_3x3"),
              });
}

}  // namespace zood::models::inception
