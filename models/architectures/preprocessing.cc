#include "models/architectures/preprocessing.h"

#include <algorithm>
#include <numeric>
#include <type_traits>
#include <variant>
#include <vector>

#include "image/presets.h"

namespace zood::models {
namespace {

// One value for all channels, as gray images need it.
void Average(std::vector<float>& values) {
  const double sum = std::accumulate(values.begin(), values.end(), 0.0);
  values = {static_cast<float>(sum / static_cast<double>(values.size()))};
}

// `spec`, which is for squares of the longer side of the input, for the input itself.
image::PreprocessSpec Fit(image::PreprocessSpec spec, const NetworkArgs& args) {
  const int size = std::max(args.height, args.width);
  spec.decode.channels = args.channels;
  for (image::PreprocessStep& step : spec.steps) {
    std::visit(
        [&](auto& s) {
          if constexpr (requires { s.height; }) {
            if (s.height == size && s.width == size) {
              s.height = args.height;
              s.width = args.width;
            }
          } else if constexpr (requires { s.values; }) {
            if (args.channels == 1 && s.values.size() > 1) Average(s.values);
          }
        },
        step);
  }
  return spec;
}

int Longer(const NetworkArgs& args) { return std::max(args.height, args.width); }

}  // namespace

image::PreprocessSpec VggPreprocessing(const NetworkArgs& args) {
  return Fit(image::VggEval(Longer(args)), args);
}

image::PreprocessSpec InceptionPreprocessing(const NetworkArgs& args) {
  return Fit(image::InceptionEval(Longer(args)), args);
}

image::PreprocessSpec CifarNetPreprocessing(const NetworkArgs& args) {
  return Fit(image::CifarnetEval(Longer(args)), args);
}

image::PreprocessSpec CifarResNetPreprocessing(const NetworkArgs& args) {
  return Fit(image::CifarResnetEval(Longer(args)), args);
}

image::PreprocessSpec EfficientNetLitePreprocessing(const NetworkArgs& args) {
  return Fit(image::EfficientNetLiteEval(Longer(args)), args);
}

image::PreprocessSpec LeNetPreprocessing(const NetworkArgs& args) {
  return Fit(image::LenetEval(Longer(args), args.channels), args);
}

}  // namespace zood::models
