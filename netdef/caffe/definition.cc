#include "netdef/caffe/definition.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "netdef/caffe/network.h"
#include "netdef/caffe/preprocessing.h"

namespace zood::netdef {
namespace {

class CaffeDefinition final : public NetworkDefinition {
 public:
  CaffeDefinition(NetworkSpec spec, std::shared_ptr<const CaffeNetwork> network)
      : NetworkDefinition(spec, {network, &network->graph()},
                          spec.output_kind.value_or(network->output_kind())),
        network_(std::move(network)) {}

  absl::StatusOr<models::MappedWeights> MapWeights(const models::WeightFile& file,
                                                   const models::MapOptions&) const override {
    return network_->MapWeights(file);
  }

  absl::StatusOr<NetworkPreprocessing> Preprocessing(const Tensor* mean) const override {
    return CaffePreprocessing(network_->input(), mean);
  }

 private:
  const std::shared_ptr<const CaffeNetwork> network_;
};

absl::Status SetClasses(const std::string& layer, int num_classes, CaffeNet& net) {
  const auto found = std::ranges::find(net.layers, layer, &CaffeLayer::name);
  if (found != net.layers.end()) {
    if (auto* product = std::get_if<CaffeInnerProduct>(&found->parameters)) {
      product->num_output = num_classes;
      return absl::OkStatus();
    }
    if (auto* convolution = std::get_if<CaffeConvolution>(&found->parameters)) {
      convolution->num_output = num_classes;
      return absl::OkStatus();
    }
  }
  return InvalidArgument(
      "the network has no InnerProduct or Convolution layer whose outputs could be {} classes",
      num_classes);
}

absl::StatusOr<CaffeNetwork> Build(const NetworkSpec& spec, const std::string& where) {
  ZOOD_ASSIGN_OR_RETURN(CaffeNet net, ParseCaffeText(spec.source, where));
  ZOOD_ASSIGN_OR_RETURN(CaffeNetwork network, CaffeNetwork::Build(net, spec.output));
  if (spec.args.num_classes == 0) return network;
  ZOOD_RETURN_IF_ERROR(SetClasses(network.ClassifyingLayer(), spec.args.num_classes, net));
  return CaffeNetwork::Build(net, spec.output);
}

}  // namespace

bool IsCaffeText(std::string_view file) {
  constexpr std::size_t kBegin = 4096;
  const std::string_view begin = file.substr(0, kBegin);
  if (begin.find('\0') != std::string_view::npos) return false;
  return file.find("layer") != std::string_view::npos;
}

absl::StatusOr<NetworkPtr> BuildCaffeDefinition(const NetworkSpec& spec, const std::string& where) {
  absl::StatusOr<CaffeNetwork> network = Build(spec, where);
  if (!network.ok()) return network.status();
  const graph::OutputKind own = network->output_kind();
  if (spec.output_kind && graph::AreLogits(own) != graph::AreLogits(*spec.output_kind)) {
    return InvalidArgument("the network answers {}, not {}", graph::Name(own),
                           graph::Name(*spec.output_kind));
  }
  return std::make_shared<const CaffeDefinition>(
      spec, std::make_shared<const CaffeNetwork>(*std::move(network)));
}

}  // namespace zood::netdef
