// How a version says which network it is: all that it takes to build it again.
//
// The store keeps it as JSON, the source under the name of its format:
//   {"zoo": "resnet_v1_50", "num_classes": 1000, "height": 224, "width": 224, "channels": 3}
//   {"caffe": "name: \"ResNet\" layer { ... }"}
//   {"onnx": "CAgSB3B5dG9yY2g...", "height": 224, "width": 224}
// "num_classes" of a description stands for that of its head, instead of the source's own, "height"
// and "width" for an input's that the source leaves open;
// "output" for the name of what it answers, and "output_kind" for what its numbers are.
#pragma once

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "graph/output.h"
#include "models/zoo.h"

namespace zood::netdef {

inline constexpr char kZooFormat[] = "zoo";
inline constexpr char kCaffeFormat[] = "caffe";
inline constexpr char kOnnxFormat[] = "onnx";

struct NetworkSpec {
  std::string format;  // kZooFormat, or a name of DescriptionFormats()
  std::string source;  // the architecture's name, or the description itself
  // Members that are 0 are as the source says. Most descriptions fix their input themselves.
  models::NetworkArgs args;
  std::string output;                            // empty: the only one that there is
  std::optional<graph::OutputKind> output_kind;  // nothing: as the source says

  friend bool operator==(const NetworkSpec&, const NetworkSpec&) = default;
};

NetworkSpec ZooSpec(std::string architecture, models::NetworkArgs args = {});
NetworkSpec CaffeSpec(std::string prototxt);

std::string ToJson(const NetworkSpec& spec);
// InvalidArgument when `json` is not what ToJson() writes; the format may be one that only another
// build reads.
absl::StatusOr<NetworkSpec> NetworkSpecFromJson(const std::string& json);

}  // namespace zood::netdef
