#include "models/architectures/layers.h"

#include <algorithm>

namespace zood::models {

Value GlobalPool(Net& net, Value x, const std::string& name) {
  x = net.GlobalAvgPool(x);
  net.EndPoint(name, x);
  return x;
}

Value HeadPool(Net& net, Value x, Size2d window, const std::string& name) {
  if (x.shape().rank() != 4) return GlobalPool(net, x, name);  // which says so
  const Size2d kernel = {std::min<int>(window.height, x.height()),
                         std::min<int>(window.width, x.width())};
  const int rows = x.height() - kernel.height, columns = x.width() - kernel.width;
  if ((rows == 0 && columns == 0) || rows > 1 || columns > 1) return GlobalPool(net, x, name);
  x = net.AvgPool2d(x, kernel, {.stride = Size2d{2, 2}, .padding = kValid, .scope = name});
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
