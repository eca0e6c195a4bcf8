// The families of networks that come with zood; one file each. Zoo::Standard() holds them all.
#pragma once

#include <vector>

#include "models/zoo.h"

namespace zood::models {

std::vector<Architecture> AlexNetFamily();
std::vector<Architecture> CifarNetFamily();
std::vector<Architecture> CifarResNetFamily();
std::vector<Architecture> EfficientNetLiteFamily();
std::vector<Architecture> InceptionFamily();
std::vector<Architecture> LeNetFamily();
std::vector<Architecture> MobileNetV1Family();
std::vector<Architecture> MobileNetV2Family();
std::vector<Architecture> OverFeatFamily();
std::vector<Architecture> ResNetV1Family();
std::vector<Architecture> ResNetV2Family();
std::vector<Architecture> VggFamily();

}  // namespace zood::models
