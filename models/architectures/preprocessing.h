// The evaluation preprocessing that published checkpoints were scored with (image/presets.h), for
// a network's input. An input that is not square is filled as its longer side's square would be,
// cut or scaled to both sides at the end. One channel: photos become gray, and statistics that are
// given by channel are averaged.
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
