#include "models/zoo.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/status.h"
#include "models/architectures/families.h"

namespace zood::models {
namespace {

// Levenshtein's distance: how many characters to insert, delete or replace.
std::size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i + 1);
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, diagonal + 1});
    }
  }
  return row.back();
}

// The three names most like `name`, in order.
std::vector<std::string> Nearest(std::string_view name, const std::vector<std::string>& names) {
  constexpr std::size_t kLongestName = 64;  // a longer one is like none, and takes long to compare
  name = name.substr(0, kLongestName);
  std::vector<std::pair<std::size_t, std::string>> ranked;
  for (const std::string& other : names) ranked.emplace_back(EditDistance(name, other), other);
  std::ranges::sort(ranked);
  if (ranked.size() > 3) ranked.resize(3);
  std::vector<std::string> nearest;
  for (auto& [distance, other] : ranked) nearest.push_back(std::move(other));
  return nearest;
}

}  // namespace

Zoo Zoo::Standard() {
  Zoo zoo;
  for (const auto& family :
       {AlexNetFamily, CifarNetFamily, CifarResNetFamily, EfficientNetLiteFamily, InceptionFamily,
        LeNetFamily, MobileNetV1Family, MobileNetV2Family, OverFeatFamily, ResNetV1Family,
        ResNetV2Family, VggFamily}) {
    for (Architecture& architecture : family()) {
      std::string name = architecture.name;
      zoo.architectures_.emplace(std::move(name), std::move(architecture));
    }
  }
  return zoo;
}

absl::Status Zoo::Add(Architecture architecture) {
  if (architecture.name.empty() || !architecture.build || !architecture.preprocess) {
    return InvalidArgument("architecture \"{}\" needs a name, build and preprocess",
                           architecture.name);
  }
  std::string name = architecture.name;
  if (!architectures_.try_emplace(name, std::move(architecture)).second) {
    return AlreadyExists("the zoo has an architecture {} already", name);
  }
  return absl::OkStatus();
}

absl::StatusOr<const Architecture*> Zoo::Find(std::string_view name) const {
  if (const auto found = architectures_.find(name); found != architectures_.end()) {
    return &found->second;
  }
  std::vector<std::string> names;
  for (const auto& [known, architecture] : architectures_) names.push_back(known);
  return NotFound("the zoo has no architecture \"{}\"; the nearest names are {}",
                  name.substr(0, 200), fmt::join(Nearest(name, names), ", "));
}

std::vector<const Architecture*> Zoo::List() const {
  std::vector<const Architecture*> list;
  for (const auto& [name, architecture] : architectures_) list.push_back(&architecture);
  return list;
}

absl::StatusOr<graph::Graph> BuildGraph(const Architecture& architecture, const NetworkArgs& args) {
  if (args.num_classes < 0) {
    return InvalidArgument("{}: {} classes; use 0 for the features before the classifier",
                           architecture.name, args.num_classes);
  }
  graph::Net net({.height = args.height, .width = args.width, .channels = args.channels});
  const Architecture::Outputs outputs = architecture.build(net, args);
  auto graph = net.Finish(outputs.logits, outputs.aux_logits);
  if (!graph.ok()) return Annotate(graph.status(), architecture.name);
  return graph;
}

}  // namespace zood::models
