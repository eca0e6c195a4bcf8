// Training preprocessing: photos that are never twice the same, as values.
//
// How it fits a model. The model's PreprocessSpec (image/preprocess.h) has geometric steps (resize,
// crop, pad) and arithmetic ones (subtract, multiply, divide, standardize). An augmentation takes
// the place of the geometric ones: from the decoded photo it makes one of the spec's output size,
// whose values still are those of 8-bit pixels, 0 to 255. Then the spec's arithmetic steps follow
// in their order, and its order of channels. So the network sees the scale that it was trained
// with, whichever pipeline is chosen. With the spec of the preset that slim pairs with a pipeline
// (VggEval with VggTrain, and so on) the result is slim's own.
//
// Everything random is a pure function of (seed, epoch, item).
#pragma once

#include <cstdint>
#include <span>
#include <variant>

#include "absl/status/status.h"
#include "base/fields.h"
#include "image/image.h"
#include "image/preprocess.h"

namespace zood::train {

// The evaluation preprocessing, unchanged. Also slim's lenet_preprocessing, which trains with what
// it evaluates with.
struct NoAugmentation {
  friend bool operator==(const NoAugmentation&, const NoAugmentation&) = default;
};
ZOOD_FIELDS(NoAugmentation)

// slim's vgg_preprocessing: the shorter side becomes a random length in [min_side, max_side], the
// aspect is kept (legacy bilinear resize); a random crop; a random flip.
struct VggTrain {
  // 0: 256 and 512 for an output of up to 256 pixels, beyond that the same ratios to 224.
  int min_side = 0;
  int max_side = 0;
  bool flip = true;
  friend bool operator==(const VggTrain&, const VggTrain&) = default;
};
template <typename V>
void Fields(V& v, VggTrain& o) {
  v("resize_side_min", o.min_side);
  v("resize_side_max", o.max_side);
}

// slim's inception_preprocessing: a random part of the photo (tf.image
// .sample_distorted_bounding_box of the whole), resized to the output by a random method (bilinear,
// nearest, bicubic, area; always bilinear when fast), a random flip, colors distorted in one of
// four orders (fast: brightness and saturation only), clipped.
struct InceptionTrain {
  bool fast = false;
  double min_area = 0.05;          // of the photo
  double max_area = 1.0;           //
  double min_aspect = 0.75;        // width / height
  double max_aspect = 1.33;        //
  double min_covered = 0.1;        // of the photo; a smaller part is drawn again
  double brightness = 32.0 / 255;  // added: uniform in [-x, x), of a range of 1
  double saturation = 0.5;         // factor: uniform in [1 - x, 1 + x)
  double hue = 0.2;                // turned by: uniform in [-x, x), of a full turn
  double contrast = 0.5;           // factor: uniform in [1 - x, 1 + x)
  bool flip = true;
  friend bool operator==(const InceptionTrain&, const InceptionTrain&) = default;
};
ZOOD_FIELDS(InceptionTrain, fast)

// slim's cifarnet_preprocessing: zeros around the photo, a random crop, a random flip, brightness,
// contrast. (Standardization is a step of CifarnetEval.)
struct CifarnetTrain {
  int padding = 4;            // pixels at each edge; more where the photo is smaller than the crop
  double brightness = 63;     // added: uniform in [-x, x), of a range of 255
  double min_contrast = 0.2;  // factor: uniform in [min, max)
  double max_contrast = 1.8;
  bool flip = true;
  friend bool operator==(const CifarnetTrain&, const CifarnetTrain&) = default;
};
ZOOD_FIELDS(CifarnetTrain)

// A value type.
using Augmentation = std::variant<NoAugmentation, VggTrain, InceptionTrain, CifarnetTrain>;

// The pipeline that fits a network whose evaluation is `spec`, chosen by its steps: InceptionTrain
// where they take a central fraction or square (InceptionEval, EfficientNetLiteEval), VggTrain
// where they resize and take a central crop (VggEval, CaffeEval, TorchvisionEval), CifarnetTrain
// where they crop or pad and standardize (CifarnetEval), else NoAugmentation. For slim's networks
// that is what slim trains them with: InceptionTrain is the fast one, as slim's preprocess_image
// has it by default.
Augmentation DefaultAugmentation(const image::PreprocessSpec& spec);

// False when an item always becomes the same input, so that its features may be kept.
bool IsRandom(const Augmentation& augmentation);

// InvalidArgument, naming the field, for options out of range, and for what OutputShape(spec)
// refuses.
absl::Status CheckAugmentation(const Augmentation& augmentation, const image::PreprocessSpec& spec);

// What the random numbers of one photo depend on.
struct AugmentationKey {
  std::uint64_t seed = 0;
  std::int64_t epoch = 0;
  std::int64_t item = 0;  // its index in the dataset
};

// Makes OutputShape(spec)'s floats, HWC, of a photo with spec.decode.channels channels.
// Thread-safe. Errors are those of CheckAugmentation and image::Preprocess.
absl::Status Augment(const Augmentation& augmentation, const image::PreprocessSpec& spec,
                     const image::Image& photo, const AugmentationKey& key, std::span<float> out);

}  // namespace zood::train
