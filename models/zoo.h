// The zoo: every network that zood builds by name, and how to make its graph.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "graph/graph.h"
#include "graph/net.h"
#include "image/preprocess.h"

namespace zood::models {

// What a network may be built with. All that a stored version needs to build it again.
struct NetworkArgs {
  int num_classes = 0;  // 0: no logits layer, the features are the output
  int height = 0;
  int width = 0;
  int channels = 3;

  friend bool operator==(const NetworkArgs&, const NetworkArgs&) = default;
};

// Where a published checkpoint is found and what it scored.
struct Published {
  std::string archive;  // "inception_v3_2016_08_28.tar.gz"; empty where none was published
  // Per cent, single crop: on ImageNet's validation images, or on CIFAR-10's test images.
  std::optional<double> top1;
  std::optional<double> top5;
  int image_size = 0;  // that it was trained for; 0: the architecture's own
};

// What class an output stands for.
enum class LabelSet {
  kNumbers,                 // "0", "1", ...: labels come with the import
  kImageNet,                // 1000 classes
  kImageNetWithBackground,  // 1001: class 0 is "background"
  kCifar10,                 // 10
};

// Where a module of a PyTorch network stands in ours, for checkpoints in PyTorch's names. A "{}" in
// `module` stands for a number, which the "{}" in its place in `scope` repeats, and "{+1}" raises
// by one:
//   {"layer{}.{}.conv{}", "resnet/block{}/unit_{+1}/conv{}", ModuleRule::Kind::kConv}
// The kind says which variables a module has and how their axes are ordered (name_map.h).
struct ModuleRule {
  enum class Kind { kConv, kDepthwiseConv, kLinear, kBatchNorm };
  std::string module;
  std::string scope;
  Kind kind = Kind::kConv;
};

// One network of the zoo. A program adds its own with Zoo::Add().
struct Architecture {
  std::string name;         // "resnet_v1_50"
  std::string family;       // "ResNet v1"
  std::string description;  // a sentence: paper, year, what it is good for
  std::string scope;        // first component of its variables: "resnet_v1_50"; may be empty
  NetworkArgs defaults;     // as published
  LabelSet labels = LabelSet::kNumbers;
  std::vector<Published> published;
  // Variables under these scopes belong to the classifier and change with the number of classes.
  std::vector<std::string> head_scopes;
  // Empty where no checkpoint in PyTorch's names is known. The first rule that matches counts.
  std::vector<ModuleRule> pytorch_modules;

  // Adds the network's layers to `net` and returns logits and, where there is one, the auxiliary
  // classifier's; reports mistakes to the net.
  struct Outputs {
    graph::Value logits;
    std::optional<graph::Value> aux_logits;
  };
  std::function<Outputs(graph::Net& net, const NetworkArgs& args)> build;

  // Evaluation preprocessing for the given input size.
  std::function<image::PreprocessSpec(const NetworkArgs& args)> preprocess;
};

// Names to architectures. Thread-safe once nothing is added any more.
class Zoo {
 public:
  Zoo() = default;  // empty
  // The networks that come with zood.
  static Zoo Standard();

  // AlreadyExists when the name is taken; InvalidArgument when a required member is empty.
  absl::Status Add(Architecture architecture);

  // NotFound, with the nearest names, when there is none. The pointer lives as long as the zoo.
  absl::StatusOr<const Architecture*> Find(std::string_view name) const;

  // By name.
  std::vector<const Architecture*> List() const;

 private:
  std::map<std::string, Architecture, std::less<>> architectures_;
};

// The graph of `architecture` with `args`. InvalidArgument, naming the layer, when the size or the
// number of classes is not possible.
absl::StatusOr<graph::Graph> BuildGraph(const Architecture& architecture, const NetworkArgs& args);

// Class names, or numbers, for `num_classes` outputs. InvalidArgument when the set has
// another number of classes.
absl::StatusOr<std::vector<std::string>> LabelsOf(LabelSet set, int num_classes);

}  // namespace zood::models
