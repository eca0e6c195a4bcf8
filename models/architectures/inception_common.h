// What the Inception networks share: blocks of parallel branches, slim's argument scope and the
// classifier heads. For models/inception*.cc only.
//
// A block is written as data, one line for each branch:
//
//   x = Mixed(net, x, "Mixed_4b", {
//       {Conv(192, {1, 1}, "Conv2d_0a_1x1")},
//       {Conv(96, {1, 1}, "Conv2d_0a_1x1"), Conv(208, {3, 3}, "Conv2d_0b_3x3")},
//       {MaxPool({3, 3}, "MaxPool_0a_3x3"), Conv(64, {1, 1}, "Conv2d_0b_1x1")},
//   });
//
// Scopes are those of the published checkpoints, where some names lie about their kernels.
//
// Any image classifies that the layers before the head can take. slim's heads pool with a window of
// the map's size at the network's own image size; a smaller map shrinks the window. Where slim
// would answer a map of logits, or fail, because the map is larger, these heads take the mean over
// all of it, which is what slim does with global_pool=True. Without classes the network ends
// with what the head pools, [?, C].
#pragma once

#include <array>
#include <functional>
#include <string>
#include <vector>

#include "models/architectures/layers.h"
#include "models/zoo.h"

namespace zood::models::inception {

inline constexpr Size2d kStride2{2, 2};
inline constexpr float kKeepProbability = 0.8f;

// A layer that will be given its input.
struct Layer {
  std::string scope;
  std::function<Value(Net& net, Value x)> apply;
};
Layer Conv(int channels, Size2d kernel, const std::string& scope, Conv2dArgs args = {});
Layer MaxPool(Size2d kernel, const std::string& scope, Pool2dArgs args = {});
Layer AvgPool(Size2d kernel, const std::string& scope, Pool2dArgs args = {});
// All of `layers` on the same input, concatenated.
Layer Fork(std::vector<Layer> layers);

// `layers` one after the other, each an end point under its scope.
Value Stem(Net& net, Value x, const std::vector<Layer>& layers);

// The concatenation of `branches`, which are in scopes "Branch_0", "Branch_1" and on.
using Branch = std::vector<Layer>;  // one layer after the other
Value Branches(Net& net, Value x, const std::vector<Branch>& branches);
// The same in the scope `name`, and an end point.
Value Mixed(Net& net, Value x, const std::string& name, const std::vector<Branch>& branches);

// The stem of v3 and Inception-ResNet-v2.
Value StemOfV3(Net& net, Value x);

// Outputs of a block's convolutions in v1 and v2, by branch.
struct Widths {
  int branch_0;
  int branch_1_reduce, branch_1;
  int branch_2_reduce, branch_2;
  int branch_3;
};

// slim's inception_arg_scope, and pooling with stride 1 and padding kSame.
[[nodiscard]] std::array<Net::Guard, 3> ArgScope(Net& net);

// The head of v2 and v3: mean over `window`, dropout, convolution.
Value ConvHead(Net& net, Value x, Size2d window, int num_classes);
// The head of v4 and Inception-ResNet-v2: mean, dropout, fully connected.
Value FullyConnectedHead(Net& net, Value x, int num_classes);
// The auxiliary head of the same two. Its second convolution covers the whole map, so the shape of
// its weights depends on the image size.
Value FullyConnectedAuxHead(Net& net, Value x, int num_classes, const std::string& conv_scope,
                            const std::string& logits_scope);

// Makes `logits` the end points "Logits" and "Predictions"; returns `logits`.
Value Classify(Net& net, Value logits);

// The networks, one file each.
Architecture::Outputs InceptionV1(Net& net, const NetworkArgs& args);
Architecture::Outputs InceptionV2(Net& net, const NetworkArgs& args);
Architecture::Outputs InceptionV3(Net& net, const NetworkArgs& args);
Architecture::Outputs InceptionV4(Net& net, const NetworkArgs& args);
Architecture::Outputs InceptionResnetV2(Net& net, const NetworkArgs& args);

}  // namespace zood::models::inception
