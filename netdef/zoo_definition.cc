#include "netdef/zoo_definition.h"

#include <algorithm>
#include <utility>

#include "base/status.h"
#include "models/weights/name_map.h"

namespace zood::netdef {
namespace {

// `args` with the members that are 0 set to the architecture's defaults.
absl::StatusOr<models::NetworkArgs> WithDefaults(models::NetworkArgs args,
                                                 const models::Architecture& architecture) {
  for (int models::NetworkArgs::* member :
       {&models::NetworkArgs::num_classes, &models::NetworkArgs::height,
        &models::NetworkArgs::width, &models::NetworkArgs::channels}) {
    if (args.*member < 0) {
      return InvalidArgument("the arguments of {} hold a negative number", architecture.name);
    }
    if (args.*member == 0) args.*member = architecture.defaults.*member;
  }
  return args;
}

class ZooDefinition final : public NetworkDefinition {
 public:
  ZooDefinition(NetworkSpec spec, const models::Architecture& architecture, graph::Graph graph)
      : NetworkDefinition(spec, std::make_shared<const graph::Graph>(std::move(graph)),
                          spec.output_kind.value_or(graph::OutputKind::kLogits)),
        architecture_(architecture) {}

  absl::StatusOr<models::MappedWeights> MapWeights(
      const models::WeightFile& file, const models::MapOptions& options) const override {
    return models::MapWeights(architecture_, *graph(), file, options);
  }

  absl::StatusOr<NetworkPreprocessing> Preprocessing(const Tensor* mean) const override {
    if (mean != nullptr) {
      return InvalidArgument(
          "a mean file is for networks from a file; {} has its own means, and preprocessing "
          "of your own can say otherwise",
          architecture_.name);
    }
    return NetworkPreprocessing{.spec = architecture_.preprocess(spec().args)};
  }

  // ImageNet's come with or without the background class.
  std::vector<std::string> Labels() const override {
    using enum models::LabelSet;
    std::vector<models::LabelSet> sets = {architecture_.labels};
    if (sets.front() == kNumbers) return {};
    if (sets.front() != kCifar10) sets = {kImageNet, kImageNetWithBackground};
    for (const models::LabelSet set : sets) {
      if (auto labels = models::LabelsOf(set, num_classes()); labels.ok()) return *labels;
    }
    return {};
  }

  std::vector<std::string> HeadVariables() const override {
    const auto in_head = [&](const std::string& variable) {
      return std::ranges::any_of(architecture_.head_scopes, [&](const std::string& scope) {
        return variable.starts_with(scope + "/");
      });
    };
    std::vector<std::string> head;
    for (const graph::Variable& variable : graph()->variables()) {
      if (in_head(variable.name)) head.push_back(variable.name);
    }
    return head.empty() ? NetworkDefinition::HeadVariables() : head;
  }

 private:
  const models::Architecture& architecture_;
};

}  // namespace

absl::StatusOr<NetworkPtr> BuildZooDefinition(const NetworkSpec& spec, const models::Zoo& zoo) {
  ZOOD_ASSIGN_OR_RETURN(const models::Architecture* architecture, zoo.Find(spec.source));
  if (!spec.output.empty()) {
    return InvalidArgument(
        "{} answers its class scores; an output is chosen of networks from a file only",
        architecture->name);
  }
  if (spec.output_kind && !graph::AreLogits(*spec.output_kind)) {
    return InvalidArgument("{} answers logits, not {}", architecture->name,
                           graph::Name(*spec.output_kind));
  }
  NetworkSpec resolved = spec;
  ZOOD_ASSIGN_OR_RETURN(resolved.args, WithDefaults(spec.args, *architecture));
  ZOOD_ASSIGN_OR_RETURN(graph::Graph graph, models::BuildGraph(*architecture, resolved.args));
  return std::make_shared<const ZooDefinition>(std::move(resolved), *architecture,
                                               std::move(graph));
}

}  // namespace zood::netdef
