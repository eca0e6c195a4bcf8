#include "models/labels.h"

#include <algorithm>
#include <array>
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

constexpr std::array<const char*, 10> kCifar10 = {
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"};

const char* Name(LabelSet set) {
  switch (set) {
    case LabelSet::kNumbers:
      return "a set of numbers";
    case LabelSet::kImageNet:
      return "ImageNet";
    case LabelSet::kImageNetWithBackground:
      return "ImageNet with background";
    case LabelSet::kCifar10:
      return "CIFAR-10";
  }
  return "an unknown set";
}

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
  if (set == LabelSet::kCifar10) labels.assign(kCifar10.begin(), kCifar10.end());
  if (set == LabelSet::kImageNetWithBackground) labels.push_back("background");
  if (set == LabelSet::kImageNet || set == LabelSet::kImageNetWithBackground) {
    for (const ImageNetClass& c : ImageNetClasses()) labels.push_back(c.name);
  }
  if (static_cast<int>(labels.size()) != num_classes) {
    return InvalidArgument("{} has {} classes, the network has {}: give labels of your own",
                           Name(set), labels.size(), num_classes);
  }
  return labels;
}

}  // namespace zood::models
