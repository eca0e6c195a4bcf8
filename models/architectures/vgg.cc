// VGG: Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image
// Recognition", 2014.
#include <algorithm>
#include <array>

#include "models/architectures/families.h"
#include "models/architectures/layers.h"
#include "models/architectures/preprocessing.h"

namespace zood::models {
namespace {

using Depths = std::array<int, 5>;  // convolutions in each stage

Architecture::Outputs Vgg(Net& net, const std::string& name, const Depths& depths,
                          int num_classes) {
  const auto scope = net.Scope(name);
  const auto defaults = net.Defaults(Conv2dArgs{.weights_regularizer = L2(0.0005f)});
  const auto collected = net.CollectEndPoints();
  Value x = net.input();
  for (int stage = 1; stage <= 5; ++stage) {
    const int channels = std::min(32 << stage, 512);
    x = net.Repeat(x, depths[stage - 1], fmt::format("conv{}", stage),
                   [&](Value v, const std::string& layer) {
                     return net.Conv2d(v, channels, {3, 3}, {.scope = layer});
                   });
    x = net.MaxPool2d(x, {2, 2}, {.scope = fmt::format("pool{}", stage)});
  }
  x = net.Conv2d(x, 4096, {7, 7}, {.padding = kValid, .scope = "fc6"});
  x = net.Dropout(x, 0.5f);
  x = net.Conv2d(x, 4096, {1, 1}, {.scope = "fc7"});
  return {.logits = Fc8(net, x, num_classes)};
}

Architecture Entry(const std::string& name, int layers, const Depths& depths,
                   std::vector<Published> published) {
  return {
      .name = name,
      .family = "VGG",
      .description = fmt::format("VGG with {} layers of weights (2014). Large and slow; its "
                                 "features transfer well.",
                                 layers),
      .scope = name,
      .defaults = {.num_classes = 1000, .height = 224, .width = 224},
      .labels = LabelSet::kImageNet,
      .published = std::move(published),
      .head_scopes = {name + "/fc8"},
      .build = [name, depths](
                   Net& net,
                   const NetworkArgs& args) { return Vgg(net, name, depths, args.num_classes); },
      .preprocess = VggPreprocessing,
  };
}

}  // namespace

std::vector<Architecture> VggFamily() {
  return {
      Entry("vgg_a", 11, {1, 1, 2, 2, 2}, {}),
      Entry("vgg_16", 16, {2, 2, 3, 3, 3}, {{"vgg_16_2016_08_28.tar.gz", 71.5, 89.8}}),
      Entry("vgg_19", 19, {2, 2, 4, 4, 4}, {{"vgg_19_2016_08_28.tar.gz", 71.1, 89.8}}),
  };
}

}  // namespace zood::models
