#include "netdef/onnx/definition.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "base/status.h"
#include "netdef/onnx/network.h"

namespace zood::netdef {
namespace {

class OnnxDefinition final : public NetworkDefinition {
 public:
  OnnxDefinition(NetworkSpec spec, std::shared_ptr<const OnnxNetwork> network)
      : NetworkDefinition(spec, {network, &network->graph()},
                          spec.output_kind.value_or(network->output_kind())),
        network_(std::move(network)) {}

  absl::StatusOr<models::MappedWeights> MapWeights(const models::WeightFile& file,
                                                   const models::MapOptions&) const override {
    return network_->MapWeights(file);
  }

  // What torchvision's and timm's exports were trained with, for nothing in a model says it.
  absl::StatusOr<NetworkPreprocessing> Preprocessing(const Tensor* mean) const override {
    if (mean != nullptr) {
      return InvalidArgument(
          "a mean image goes with Caffe's networks; put the mean into the "
          "preprocessing");
    }
    const OnnxInput& input = network_->input();
    const bool color = input.channels == 3;
    NetworkPreprocessing made;
    made.spec.decode = {.channels = static_cast<int>(input.channels),
                        .dct = image::JpegDct::kInteger};
    const int height = static_cast<int>(input.height);
    const int width = static_cast<int>(input.width);
    constexpr double kShare = 0.875;  // of the shorter side that is left: 224 of 256
    made.spec.steps.push_back(
        image::ResizeShorterSide{.size = static_cast<int>(std::max(height, width) / kShare),
                                 .filter = image::ResizeFilter::kPillowBilinear,
                                 .rounding = image::SideRounding::kTruncate});
    made.spec.steps.push_back(image::CentralCrop{
        .height = height, .width = width, .rounding = image::CropRounding::kNearestEven});
    made.spec.steps.push_back(image::Divide{{255}});
    if (color) {
      made.spec.steps.push_back(image::Subtract{{0.485f, 0.456f, 0.406f}});
      made.spec.steps.push_back(image::Divide{{0.229f, 0.224f, 0.225f}});
    } else {
      made.spec.steps.push_back(image::Subtract{{0.5f}});
      made.spec.steps.push_back(image::Divide{{0.5f}});
    }
    made.assumed.push_back(
        fmt::format("the middle {}x{} of images whose shorter side is {}, as torchvision evaluates",
                    height, width, static_cast<int>(std::max(height, width) / kShare)));
    made.assumed.push_back(color ? "channels in the order red, green, blue; ImageNet's mean and "
                                   "standard deviation"
                                 : "gray images with values from -1 to 1");
    return made;
  }

 private:
  const std::shared_ptr<const OnnxNetwork> network_;
};

}  // namespace

absl::StatusOr<NetworkPtr> BuildOnnxDefinition(const NetworkSpec& spec, const std::string& where) {
  const absl::StatusOr<OnnxModel> model = ParseOnnxDescription(spec.source);
  if (!model.ok()) return Annotate(model.status(), where);
  absl::StatusOr<OnnxNetwork> network = OnnxNetwork::Build(*model, spec.args, spec.output);
  if (!network.ok()) return Annotate(network.status(), where);
  const graph::OutputKind own = network->output_kind();
  if (spec.output_kind && graph::AreLogits(own) != graph::AreLogits(*spec.output_kind)) {
    return InvalidArgument("the network answers {}, not {}", graph::Name(own),
                           graph::Name(*spec.output_kind));
  }
  NetworkSpec kept = spec;
  kept.args.height = static_cast<int>(network->input().height);
  kept.args.width = static_cast<int>(network->input().width);
  return std::make_shared<const OnnxDefinition>(
      kept, std::make_shared<const OnnxNetwork>(*std::move(network)));
}

}  // namespace zood::netdef
