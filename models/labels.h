// ImageNet's classes.
#pragma once

#include <span>
#include <string>

namespace zood::models {

struct ImageNetClass {
  std::string wnid;  // WordNet's number, the name of the class's folder: "n01440764"
  std::string name;  // "tench, Tinca tinca"
};

// The 1000 classes of the ILSVRC 2012 challenge in the order of their numbers.
std::span<const ImageNetClass> ImageNetClasses();

}  // namespace zood::models
