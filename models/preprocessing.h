// The evaluation preprocessing that published checkpoints were scored with, for a network's input
// size.
#pragma once

#include "image/preprocess.h"
#include "models/zoo.h"

namespace zood::models {

image::PreprocessSpec VggPreprocessing(const NetworkArgs& args);
image::PreprocessSpec InceptionPreprocessing(const NetworkArgs& args);
image::PreprocessSpec CifarNetPreprocessing(const NetworkArgs& args);
image::PreprocessSpec CifarResNetPreprocessing(const NetworkArgs& args);
image::PreprocessSpec EfficientNetLitePreprocessing(const NetworkArgs& args);
image::PreprocessSpec LeNetPreprocessing(const NetworkArgs& args);

}  // namespace zood::models
