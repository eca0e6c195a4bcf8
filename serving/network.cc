#include "serving/network.h"

#include <nlohmann/json.hpp>

#include <utility>

#include "base/status.h"
#include "checkpoint/caffe_net.h"

namespace zood::serving {

std::string ToJson(const Network& network) {
  nlohmann::ordered_json json;
  if (const auto* zoo = std::get_if<ZooNetwork>(&network)) {
    json["zoo"] = zoo->architecture;
    json["num_classes"] = zoo->args.num_classes;
    json["height"] = zoo->args.height;
    json["width"] = zoo->args.width;
    json["channels"] = zoo->args.channels;
  } else {
    json["caffe"] = std::get<CaffeNetwork>(network).prototxt;
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
  if (const std::string* prototxt = string("caffe")) return CaffeNetwork{*prototxt};
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
  ZOOD_ASSIGN_OR_RETURN(const models::CaffeNetwork caffe,
                        BuildCaffe(std::get<CaffeNetwork>(network)));
  return caffe.graph();
}

absl::StatusOr<models::CaffeNetwork> BuildCaffe(const CaffeNetwork& network) {
  ZOOD_ASSIGN_OR_RETURN(const checkpoint::NetDefinition definition,
                        checkpoint::ParseCaffeText(network.prototxt, "the .prototxt"));
  return models::CaffeNetwork::Build(definition);
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

}  // namespace zood::serving
