#include "serving/network.h"

#include <nlohmann/json.hpp>

#include <utility>

#include "base/status.h"
#include "netdef/caffe/net.h"

namespace zood::serving {
namespace {

constexpr int kMaxCaffeClasses = 1'000'000;

// The last layer that makes its output from weights of a free size.
absl::Status SetClasses(netdef::NetDefinition& definition, int num_classes) {
  for (auto layer = definition.layers.rbegin(); layer != definition.layers.rend(); ++layer) {
    if (auto* product = std::get_if<netdef::CaffeInnerProduct>(&layer->parameters)) {
      product->num_output = num_classes;
      return absl::OkStatus();
    }
    if (auto* convolution = std::get_if<netdef::CaffeConvolution>(&layer->parameters)) {
      convolution->num_output = num_classes;
      return absl::OkStatus();
    }
  }
  return InvalidArgument(
      "the Caffe network has no InnerProduct or Convolution layer whose outputs could be {} "
      "classes",
      num_classes);
}

}  // namespace

std::string ToJson(const Network& network) {
  nlohmann::ordered_json json;
  if (const auto* zoo = std::get_if<ZooNetwork>(&network)) {
    json["zoo"] = zoo->architecture;
    json["num_classes"] = zoo->args.num_classes;
    json["height"] = zoo->args.height;
    json["width"] = zoo->args.width;
    json["channels"] = zoo->args.channels;
  } else {
    const auto& caffe = std::get<CaffeNetwork>(network);
    json["caffe"] = caffe.prototxt;
    if (caffe.num_classes > 0) json["num_classes"] = caffe.num_classes;
  }
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

absl::StatusOr<Network> NetworkFromJson(const std::string& text) {
  const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return InvalidArgument("a version's network is not a JSON object");
  const auto string = [&](const char* name) -> const std::string* {
    const auto found = json.find(name);
    return found == json.end() ? nullptr : found->get_ptr<const std::string*>();
  };
  if (const std::string* prototxt = string("caffe")) {
    const auto classes = json.find("num_classes");
    if (classes == json.end()) return CaffeNetwork{*prototxt};
    if (!classes->is_number_integer() || *classes < 1 || *classes > kMaxCaffeClasses) {
      return InvalidArgument("a version's network has no sound number 'num_classes'");
    }
    return CaffeNetwork{*prototxt, classes->get<int>()};
  }
  const std::string* architecture = string("zoo");
  if (architecture == nullptr) {
    return InvalidArgument("a version's network is neither of the zoo nor of Caffe");
  }
  ZooNetwork network{.architecture = *architecture};
  for (const auto& [name, member] :
       {std::pair("num_classes", &network.args.num_classes),
        std::pair("height", &network.args.height), std::pair("width", &network.args.width),
        std::pair("channels", &network.args.channels)}) {
    const auto found = json.find(name);
    if (found == json.end() || !found->is_number_integer()) {
      return InvalidArgument("a version's network has no number '{}'", name);
    }
    *member = found->get<int>();
  }
  return network;
}

absl::StatusOr<graph::Graph> BuildGraph(const Network& network, const models::Zoo& zoo) {
  if (const auto* named = std::get_if<ZooNetwork>(&network)) {
    ZOOD_ASSIGN_OR_RETURN(const models::Architecture* architecture, zoo.Find(named->architecture));
    return models::BuildGraph(*architecture, named->args);
  }
  ZOOD_ASSIGN_OR_RETURN(const netdef::CaffeNetwork caffe,
                        BuildCaffe(std::get<CaffeNetwork>(network)));
  return caffe.graph();
}

absl::StatusOr<netdef::CaffeNetwork> BuildCaffe(const CaffeNetwork& network) {
  ZOOD_ASSIGN_OR_RETURN(netdef::NetDefinition definition,
                        netdef::ParseCaffeText(network.prototxt, "the .prototxt"));
  if (network.num_classes > 0) {
    ZOOD_RETURN_IF_ERROR(SetClasses(definition, network.num_classes));
  }
  return netdef::CaffeNetwork::Build(definition);
}

absl::StatusOr<ZooNetwork> WithDefaults(ZooNetwork network, const models::Zoo& zoo) {
  ZOOD_ASSIGN_OR_RETURN(const models::Architecture* architecture, zoo.Find(network.architecture));
  const models::NetworkArgs& defaults = architecture->defaults;
  for (int models::NetworkArgs::* member :
       {&models::NetworkArgs::num_classes, &models::NetworkArgs::height,
        &models::NetworkArgs::width, &models::NetworkArgs::channels}) {
    if (network.args.*member < 0) {
      return InvalidArgument("the arguments of {} hold a negative number", network.architecture);
    }
    if (network.args.*member == 0) network.args.*member = defaults.*member;
  }
  return network;
}

absl::StatusOr<Network> WithClasses(Network network, int num_classes) {
  if (auto* named = std::get_if<ZooNetwork>(&network)) {
    named->args.num_classes = num_classes;
    return network;
  }
  auto& caffe = std::get<CaffeNetwork>(network);
  caffe.num_classes = num_classes;
  ZOOD_RETURN_IF_ERROR(BuildCaffe(caffe).status());
  return network;
}

}  // namespace zood::serving
