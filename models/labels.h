// ImageNet's classes.
#pragma once

#include <span>
#include <string>
#include <vector>

namespace zood::models {

struct ImageNetClass {
  std::string wnid;  // WordNet's number, the name of the class's folder: "n01440764"
  std::string name;  // "tench, Tinca tinca"
};

// The 1000 classes of the ILSVRC 2012 challenge in the order of their numbers.
std::span<const ImageNetClass> ImageNetClasses();

// The WordNet ids of classes, by index: where nearly all `labels` are ImageNet's in its order, with
// or without a background class, by whichever of its names; or where a label has its id in front
// ("n01440764 tench"). Empty where none has one.
std::vector<std::string> ClassIds(std::span<const std::string> labels);

}  // namespace zood::models
