#include "models/labels.h"

#include <algorithm>
#include <array>
#include <cctype>
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

constexpr std::size_t kWnidLength = 9;

// "n01440764", and nothing that goes on as a word behind it.
bool StartsWithWnid(std::string_view label) {
  if (label.size() < kWnidLength || label[0] != 'n') return false;
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  return std::ranges::all_of(label.substr(1, kWnidLength - 1), is_digit) &&
         (label.size() == kWnidLength || label[kWnidLength] == ' ');
}

// Letters in lower case, and nothing else, so that "Tinca_tinca" is "tinca tinca".
std::string Letters(std::string_view text) {
  std::string letters;
  for (const char c : text) {
    if (std::isalnum(static_cast<unsigned char>(c)) != 0) {
      letters += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    }
  }
  return letters;
}

// Whether `label` is all of `names`, or one of those between its commas.
bool IsOneOf(std::string_view label, std::string_view names) {
  const std::string wanted = Letters(label);
  if (wanted == Letters(names)) return true;
  for (std::size_t begin = 0; begin < names.size();) {
    const std::size_t end = std::min(names.find(',', begin), names.size());
    if (wanted == Letters(names.substr(begin, end - begin))) return true;
    begin = end + 1;
  }
  return false;
}

}  // namespace

std::span<const ImageNetClass> ImageNetClasses() {
  static const auto& classes = *new std::vector<ImageNetClass>(ParseImageNet());
  return classes;
}

std::vector<std::string> ClassIds(std::span<const std::string> labels) {
  const std::span<const ImageNetClass> classes = ImageNetClasses();
  std::vector<std::string> ids(labels.size());
  std::size_t own = 0;  // that the labels name themselves
  for (std::size_t i = 0; i < labels.size(); ++i) {
    if (!StartsWithWnid(labels[i])) continue;
    ids[i] = labels[i].substr(0, kWnidLength);
    ++own;
  }
  if (own > 0) return ids;
  if (labels.size() < classes.size() || labels.size() > classes.size() + 1) return {};
  const std::size_t background = labels.size() - classes.size();
  std::size_t alike = 0;
  for (std::size_t i = 0; i < classes.size(); ++i) {
    ids[i + background] = classes[i].wnid;
    if (IsOneOf(labels[i + background], classes[i].name)) ++alike;
  }
  if (alike * 20 < classes.size() * 19) return {};
  return ids;
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
