// TensorFlow's operations that training preprocessing is made of. Pure functions of their
// arguments, thread-safe; in float32 as TensorFlow's kernels compute. Private to this room.
#pragma once

#include "image/image.h"
#include "train/input/augmentation.h"
#include "train/input/augmentation_random.h"

namespace zood::train {

// tf.image.flip_left_right.
void FlipLeftRight(image::FloatImage& image);

// tf.image.adjust_brightness: x + delta. Nothing is clipped.
void AdjustBrightness(image::FloatImage& image, float delta);

// tf.image.adjust_contrast: (x - mean) * factor + mean, by the mean of each channel.
void AdjustContrast(image::FloatImage& image, float factor);

// tf.image.adjust_saturation: saturation of HSV times `factor`, cut to [0, 1]. RGB only.
void AdjustSaturation(image::FloatImage& image, float factor);

// tf.image.adjust_hue: hue of HSV turned by `delta` of a full turn. RGB only.
void AdjustHue(image::FloatImage& image, float delta);

void Clip(image::FloatImage& image, float low, float high);
void Scale(image::FloatImage& image, float factor);

// tf.image.ResizeMethod, legacy grid: no half-pixel offset.
enum class ResizeMethod { kBilinear, kNearest, kBicubic, kArea };

// The part `window` of the photo as floats, resized.
image::FloatImage ResizePart(const image::Image& photo, const image::Window& window,
                             image::Size size, ResizeMethod method);

// tf.image.sample_distorted_bounding_box with the whole photo as its only box: a random part whose
// aspect (width / height) is uniform in a range, whose area lies in one, and which covers at least
// `min_covered` of the photo; after 100 attempts, the whole.
image::Window SampleDistortedBox(image::Size photo, const InceptionTrain& options, Random& random);

}  // namespace zood::train
