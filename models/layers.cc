#include "models/layers.h"

namespace zood::models {

Value GlobalPool(Net& net, Value x, const std::string& name) {
  x = net.GlobalAvgPool(x);
  net.EndPoint(name, x);
  return x;
}

Value ConvLogits(Net& net, Value x, int num_classes, const std::string& scope,
                 float keep_probability) {
  if (keep_probability < 1) x = net.Dropout(x, keep_probability);
  x = net.Conv2d(x, num_classes, {1, 1},
                 {.activation = nullptr,
                  .normalizer = nullptr,
                  .biases_initializer = Zeros(),
                  .scope = scope});
  return net.Squeeze(x);
}

Value Fc8(Net& net, Value x, int num_classes) {
  if (x.height() > 1 || x.width() > 1) x = GlobalPool(net, x);
  if (num_classes == 0) return net.Squeeze(x);
  x = ConvLogits(net, x, num_classes, "fc8", 0.5f);
  net.EndPoint(net.scope() + "/fc8", x);
  return x;
}

}  // namespace zood::models
