// How a version says which network it is.
//
// The store keeps it as JSON, so that a version needs nothing else to be built again:
//   {"zoo": "resnet_v1_50", "num_classes": 1000, "height": 224, "width": 224, "channels": 3}
//   {"caffe": "name: \"ResNet\" layer { ... }"}
// A Caffe network may also have "num_classes": that of its last layer, instead of the text's.
#pragma once

#include <string>
#include <variant>

#include "absl/status/statusor.h"
#include "graph/graph.h"
#include "models/zoo.h"
#include "netdef/caffe/network.h"

namespace zood::serving {

struct ZooNetwork {
  std::string architecture;
  models::NetworkArgs args;  // resolved: no member is "the default"

  friend bool operator==(const ZooNetwork&, const ZooNetwork&) = default;
};

struct CaffeNetwork {
  std::string prototxt;
  int num_classes = 0;  // of the last layer that has weights; 0: as the text says

  friend bool operator==(const CaffeNetwork&, const CaffeNetwork&) = default;
};

using Network = std::variant<ZooNetwork, CaffeNetwork>;

std::string ToJson(const Network& network);
// InvalidArgument when `json` is not what ToJson() writes.
absl::StatusOr<Network> NetworkFromJson(const std::string& json);

// NotFound for an architecture that `zoo` does not have; InvalidArgument, naming the layer, for
// arguments or a .prototxt from which no network can be built.
absl::StatusOr<graph::Graph> BuildGraph(const Network& network, const models::Zoo& zoo);

// The Caffe network itself, which knows how its file's blobs become the graph's variables.
absl::StatusOr<netdef::CaffeNetwork> BuildCaffe(const CaffeNetwork& network);

// `network` with the members of its arguments that are 0 set to the architecture's defaults.
absl::StatusOr<ZooNetwork> WithDefaults(ZooNetwork network, const models::Zoo& zoo);

// `network` with another number of classes, above 0. InvalidArgument for a Caffe network without a
// layer that could have it.
absl::StatusOr<Network> WithClasses(Network network, int num_classes);

}  // namespace zood::serving
