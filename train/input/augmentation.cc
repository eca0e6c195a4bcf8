#include "train/input/augmentation.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "base/option_check.h"
#include "base/status.h"
#include "image/resize.h"
#include "train/input/augmentation_ops.h"
#include "train/input/augmentation_random.h"

namespace zood::train {
namespace {

constexpr std::uint64_t kAugmentationStream = 2;  // the order of epochs has another
constexpr int kLargestSide = 1 << 15;

image::Size SizeOf(const Shape& shape) {
  return {static_cast<int>(shape[0]), static_cast<int>(shape[1])};
}

// The range of the shorter side; see VggTrain.
std::pair<int, int> Sides(const VggTrain& options, image::Size out) {
  const int size = std::max(out.height, out.width);
  const auto ratio = [&](int side) {
    return size <= 256 ? side : static_cast<int>(std::lround(size * (side / 224.0)));
  };
  return {options.min_side == 0 ? ratio(256) : options.min_side,
          options.max_side == 0 ? ratio(512) : options.max_side};
}

absl::Status Check(const NoAugmentation&, image::Size) { return absl::OkStatus(); }

absl::Status Check(const VggTrain& options, image::Size out) {
  const auto [low, high] = Sides(options, out);
  const int needed = std::max(out.height, out.width);
  if (low < needed || high < low || high > kLargestSide) {
    return InvalidArgument(
        "vgg: sides are {} to {}; expected at least {}, the size of the network's input, the lower "
        "first, and at most {}",
        low, high, needed, kLargestSide);
  }
  return absl::OkStatus();
}

absl::Status CheckOrder(const char* owner, const char* what, double low, double high) {
  if (low <= high) return absl::OkStatus();
  return InvalidArgument("{}: min_{} {} is above max_{} {}", owner, what, low, what, high);
}

absl::Status Check(const InceptionTrain& options, image::Size) {
  constexpr Range kShare = {.low = 0, .high = 1, .low_open = true};
  constexpr Range kAspect = {.low = 0.01, .high = 100};
  constexpr Range kHue = {.low = 0, .high = 0.5};
  ZOOD_RETURN_IF_ERROR(CheckOption("inception", "min_area", options.min_area, kShare));
  ZOOD_RETURN_IF_ERROR(CheckOption("inception", "max_area", options.max_area, kShare));
  ZOOD_RETURN_IF_ERROR(CheckOption("inception", "min_aspect", options.min_aspect, kAspect));
  ZOOD_RETURN_IF_ERROR(CheckOption("inception", "max_aspect", options.max_aspect, kAspect));
  ZOOD_RETURN_IF_ERROR(CheckOption("inception", "min_covered", options.min_covered, kFraction));
  ZOOD_RETURN_IF_ERROR(CheckOption("inception", "brightness", options.brightness, kFraction));
  ZOOD_RETURN_IF_ERROR(CheckOption("inception", "saturation", options.saturation, kFraction));
  ZOOD_RETURN_IF_ERROR(CheckOption("inception", "hue", options.hue, kHue));
  ZOOD_RETURN_IF_ERROR(CheckOption("inception", "contrast", options.contrast, kFraction));
  ZOOD_RETURN_IF_ERROR(CheckOrder("inception", "area", options.min_area, options.max_area));
  return CheckOrder("inception", "aspect", options.min_aspect, options.max_aspect);
}

absl::Status Check(const CifarnetTrain& options, image::Size) {
  constexpr Range kPixels = {.low = 0, .high = 1024};
  constexpr Range kLevels = {.low = 0, .high = 255};
  constexpr Range kFactor = {.low = 0, .high = 100};
  ZOOD_RETURN_IF_ERROR(CheckOption("cifarnet", "padding", options.padding, kPixels));
  ZOOD_RETURN_IF_ERROR(CheckOption("cifarnet", "brightness", options.brightness, kLevels));
  ZOOD_RETURN_IF_ERROR(CheckOption("cifarnet", "min_contrast", options.min_contrast, kFactor));
  ZOOD_RETURN_IF_ERROR(CheckOption("cifarnet", "max_contrast", options.max_contrast, kFactor));
  return CheckOrder("cifarnet", "contrast", options.min_contrast, options.max_contrast);
}

image::FloatImage Make(const VggTrain& options, const image::Image& photo, image::Size out,
                       Random& random) {
  const auto [low, high] = Sides(options, out);
  const int side = low + random.Below(high - low + 1);
  // As image::ResizeShorterSide with SideRounding::kNearestEven.
  const float scale =
      static_cast<float>(side) / static_cast<float>(std::min(photo.height, photo.width));
  const image::Size resized = {
      static_cast<int>(std::rint(static_cast<float>(photo.height) * scale)),
      static_cast<int>(std::rint(static_cast<float>(photo.width) * scale))};
  const image::Window window = {random.Below(resized.height - out.height + 1),
                                random.Below(resized.width - out.width + 1), out.height, out.width};
  image::FloatImage image(out, photo.channels);
  const image::RowReader read = [&](int y, int first, int count, float* row) {
    std::copy_n(photo.row(y) + static_cast<std::size_t>(first) * photo.channels,
                static_cast<std::size_t>(count) * photo.channels, row);
  };
  image::ResizeBilinearWindow(read, photo.size(), photo.channels, resized,
                              image::BilinearGrid::kLegacy, window, image.pixels.data());
  if (random.Coin() && options.flip) FlipLeftRight(image);
  return image;
}

// slim's distort_color: four orders, of which the fast mode has the first alone, with two of the
// four operations.
void DistortColor(const InceptionTrain& options, Random& random, image::FloatImage& image) {
  enum Operation { kBrightness, kSaturation, kHue, kContrast };
  constexpr std::array<std::array<Operation, 4>, 4> kOrders = {
      {{kBrightness, kSaturation, kHue, kContrast},
       {kSaturation, kBrightness, kContrast, kHue},
       {kContrast, kHue, kBrightness, kSaturation},
       {kHue, kSaturation, kContrast, kBrightness}}};
  const int order = options.fast ? 0 : random.Below(4);
  const auto draw = [&](double middle, double range) {
    return static_cast<float>(random.Uniform(middle - range, middle + range));
  };
  const float brightness = draw(0, options.brightness);
  const float saturation = draw(1, options.saturation);
  const float hue = draw(0, options.hue);
  const float contrast = draw(1, options.contrast);
  for (const Operation operation : kOrders[static_cast<std::size_t>(order)]) {
    switch (operation) {
      case kBrightness:
        AdjustBrightness(image, brightness);
        break;
      case kSaturation:
        AdjustSaturation(image, saturation);
        break;
      case kHue:
        if (!options.fast) AdjustHue(image, hue);
        break;
      case kContrast:
        if (!options.fast) AdjustContrast(image, contrast);
        break;
    }
  }
}

image::FloatImage Make(const InceptionTrain& options, const image::Image& photo, image::Size out,
                       Random& random) {
  const image::Window window = SampleDistortedBox(photo.size(), options, random);
  const auto method =
      options.fast ? ResizeMethod::kBilinear : static_cast<ResizeMethod>(random.Below(4));
  image::FloatImage image = ResizePart(photo, window, out, method);
  if (random.Coin() && options.flip) FlipLeftRight(image);
  Scale(image, static_cast<float>(1 / 255.0));
  DistortColor(options, random, image);
  Clip(image, 0, 1);
  Scale(image, 255);
  return image;
}

image::FloatImage Make(const CifarnetTrain& options, const image::Image& photo, image::Size out,
                       Random& random) {
  // Rows and columns of zeros before the photo, so that the crop fits.
  const auto margin = [&](int in, int wanted) {
    return std::max(options.padding, (wanted - in + 1) / 2);
  };
  const int above = margin(photo.height, out.height);
  const int before = margin(photo.width, out.width);
  const int top = random.Below(photo.height + 2 * above - out.height + 1) - above;
  const int left = random.Below(photo.width + 2 * before - out.width + 1) - before;
  image::FloatImage image(out, photo.channels);
  const int first = std::max(0, -left);
  const int end = std::min(out.width, photo.width - left);
  for (int y = std::max(0, -top); y < std::min(out.height, photo.height - top); ++y) {
    if (first >= end) break;
    std::copy_n(photo.row(top + y) + static_cast<std::size_t>(left + first) * photo.channels,
                static_cast<std::size_t>(end - first) * photo.channels,
                image.row(y) + static_cast<std::size_t>(first) * photo.channels);
  }
  if (random.Coin() && options.flip) FlipLeftRight(image);
  AdjustBrightness(image,
                   static_cast<float>(random.Uniform(-options.brightness, options.brightness)));
  AdjustContrast(image,
                 static_cast<float>(random.Uniform(options.min_contrast, options.max_contrast)));
  return image;
}

absl::Status CheckPhoto(const image::Image& photo, int channels) {
  const bool sound = photo.height >= 1 && photo.height <= image::kMaxSide && photo.width >= 1 &&
                     photo.width <= image::kMaxSide;
  if (!sound || photo.channels != channels ||
      photo.pixels.size() != static_cast<std::size_t>(photo.height) * photo.row_length()) {
    return InvalidArgument(
        "the photo is {} x {} x {} (height, width, channels) with {} values; expected sides of 1 "
        "to {} and {} channels",
        photo.height, photo.width, photo.channels, photo.pixels.size(), image::kMaxSide, channels);
  }
  return absl::OkStatus();
}

}  // namespace

Augmentation DefaultAugmentation(const image::PreprocessSpec& spec) {
  const auto has = [&]<typename Step>(const Step*) {
    return std::ranges::any_of(spec.steps, [](const image::PreprocessStep& step) {
      return std::holds_alternative<Step>(step);
    });
  };
  if (has(static_cast<image::CentralCropFraction*>(nullptr)) ||
      has(static_cast<image::CentralSquare*>(nullptr))) {
    return InceptionTrain{.fast = true};
  }
  if (has(static_cast<image::CentralCrop*>(nullptr))) return VggTrain{};
  if (has(static_cast<image::CropOrPad*>(nullptr)) &&
      has(static_cast<image::Standardize*>(nullptr))) {
    return CifarnetTrain{};
  }
  return NoAugmentation{};
}

bool IsRandom(const Augmentation& augmentation) {
  return !std::holds_alternative<NoAugmentation>(augmentation);
}

absl::Status CheckAugmentation(const Augmentation& augmentation,
                               const image::PreprocessSpec& spec) {
  ZOOD_ASSIGN_OR_RETURN(const Shape shape, image::OutputShape(spec));
  return std::visit([&](const auto& options) { return Check(options, SizeOf(shape)); },
                    augmentation);
}

absl::Status Augment(const Augmentation& augmentation, const image::PreprocessSpec& spec,
                     const image::Image& photo, const AugmentationKey& key, std::span<float> out) {
  if (!IsRandom(augmentation)) return image::Preprocess(spec, photo, out);
  ZOOD_RETURN_IF_ERROR(CheckAugmentation(augmentation, spec));
  ZOOD_RETURN_IF_ERROR(CheckPhoto(photo, spec.decode.channels));
  ZOOD_ASSIGN_OR_RETURN(const Shape shape, image::OutputShape(spec));
  Random random({kAugmentationStream, key.seed, static_cast<std::uint64_t>(key.epoch),
                 static_cast<std::uint64_t>(key.item)});
  const image::Size size = SizeOf(shape);
  const image::FloatImage image = std::visit(
      [&](const auto& options) {
        if constexpr (std::is_same_v<std::decay_t<decltype(options)>, NoAugmentation>) {
          return image::FloatImage();
        } else {
          return Make(options, photo, size, random);
        }
      },
      augmentation);
  return image::Normalize(spec, image, out);
}

}  // namespace zood::train
