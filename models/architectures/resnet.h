// What ResNet v1 and v2 share. For models/resnet_v*.cc only.
#pragma once

#include <array>
#include <functional>
#include <string>
#include <vector>

#include "models/architectures/layers.h"

namespace zood::models::resnet {

using Units = std::array<int, 4>;  // in each block

struct Block {
  std::string scope;  // "block1"
  int channels = 0;   // that its units put out
  int units = 0;
  int stride = 1;  // of the last unit
};

// 256, 512, 1024 and 2048 channels; all blocks but the last halve the map.
std::vector<Block> Blocks(const Units& units);

// slim's resnet_arg_scope. Explicit padding makes the result of a strided convolution independent
// of the parity of the image size; without a stride it is kSame.
[[nodiscard]] std::array<Net::Guard, 2> ArgScope(Net& net);

// Every stride-th row and column of `x`.
Value Subsample(Net& net, Value x, int stride);

using Unit = std::function<Value(Net& net, Value x, int channels, int stride)>;

// The units of `block` one after the other in scopes "block1/unit_1" and on. An end point.
Value Stack(Net& net, Value x, const Block& block, const Unit& unit);

// The mean over the map and the convolution "logits": [?, num_classes], or [?, C] for no classes.
Value Head(Net& net, Value x, int num_classes);

}  // namespace zood::models::resnet
