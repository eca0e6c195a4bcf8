#include "models/labels.h"

#include <algorithm>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "models/zoo.h"

namespace zood::models {
namespace {

// Lines of number, wnid, name, separated by tabs.
constexpr std::string_view kImageNetTsv =
#include "imagenet_2012.inc"
    ;

std::vector<ImageNetClass> ParseImageNet() {
  std::vector<ImageNetClass> classes;
  for (std::string_view rest = kImageNetTsv; !rest.empty();) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    const std::size_t first = line.find('\t');
    const std::size_t second = line.find('\t', first + 1);
    classes.push_back({.wnid = std::string(line.substr(first + 1, second - first - 1)),
                       .name = std::string(line.substr(second + 1))});
  }
  return classes;
}

}  // namespace

std::span<const ImageNetClass> ImageNetClasses() {
  static const auto& classes = *new std::vector<ImageNetClass>(ParseImageNet());
  return classes;
}

absl::StatusOr<std::vector<std::string>> LabelsOf(LabelSet set, int num_classes) {
  std::vector<std::string> labels;
  if (set == LabelSet::kNumbers) {
    for (int i = 0; i < num_classes; ++i) labels.push_back(std::to_string(i));
    return labels;
  }
  if (set == LabelSet::kImageNetWithBackground) labels.push_back("background");
  for (const ImageNetClass& c : ImageNetClasses()) labels.push_back(c.name);
  if (static_cast<int>(labels.size()) != num_classes) {
    return InvalidArgument("ImageNet{} has {} classes, the network has {}: give labels of your own",
                           set == LabelSet::kImageNet ? "" : " with background", labels.size(),
                           num_classes);
  }
  return labels;
}

}  // namespace zood::models
