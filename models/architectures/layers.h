// What the sources of the networks share: the layer API under short names, and the usual head.
// For models/*.cc only.
#pragma once

#include <fmt/format.h>

#include <string>

#include "graph/net.h"

namespace zood::models {

using graph::BatchNormArgs;
using graph::Constant;
using graph::Conv2dArgs;
using graph::FullyConnectedArgs;
using graph::kFixed;
using graph::kSame;
using graph::kValid;
using graph::L2;
using graph::Net;
using graph::Padding;
using graph::Pool2dArgs;
using graph::Relu;
using graph::Relu6;
using graph::SeparableConv2dArgs;
using graph::Size2d;
using graph::TruncatedNormal;
using graph::Value;
using graph::VarianceScaling;
using graph::Zeros;

// The mean over the map, [?, 1, 1, C], made an end point under `name`.
Value GlobalPool(Net& net, Value x, const std::string& name = "global_pool");

// slim's pooling before a classifier: the mean over a window of `window` elements, or of the map's
// size where that is smaller, from the map's upper left corner (slim.avg_pool2d, VALID, stride 2).
// A map that is one element larger still gives one window, which leaves out its last row or column.
// On one larger still slim fails; here the mean is over all of it, as with slim's `global_pool`.
Value HeadPool(Net& net, Value x, Size2d window, const std::string& name);

// The head of a fully convolutional network: dropout, then a linear 1x1 convolution with biases,
// named `scope`. Takes [?, 1, 1, C], returns [?, num_classes].
Value ConvLogits(Net& net, Value x, int num_classes, const std::string& scope,
                 float keep_probability = 1);

// The end of VGG, AlexNet and OverFeat: dropout and the layer "fc8". Maps larger than 1x1, which
// larger images give, are averaged first, as slim does with `global_pool`. Returns
// [?, num_classes], or the features [?, C] for no classes.
Value Fc8(Net& net, Value x, int num_classes);

}  // namespace zood::models
