#include "image/preprocess_plan.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>

#include "base/status.h"

namespace zood::image {
namespace {

// Beyond this a float32 no longer holds every coordinate.
constexpr double kMaxResizedSide = 1 << 24;

absl::StatusOr<Size> ResizedSize(const ResizeShorterSide& step, Size in) {
  const int shorter = std::min(in.height, in.width);
  const auto resized = [&](int side) -> double {
    if (step.rounding == SideRounding::kNearestEven) {
      const float scale = static_cast<float>(step.size) / static_cast<float>(shorter);
      return std::nearbyint(static_cast<float>(side) * scale);
    }
    if (side == shorter) return step.size;
    return std::trunc(static_cast<double>(std::int64_t{step.size} * side) / shorter);
  };
  const double height = resized(in.height);
  const double width = resized(in.width);
  if (std::max(height, width) > kMaxResizedSide) {
    return ResourceExhausted(
        "an image of {} x {} pixels (width x height) with its shorter side at {} would be {} x {}",
        in.width, in.height, step.size, width, height);
  }
  return Size{static_cast<int>(height), static_cast<int>(width)};
}

int CropOffset(int in, int crop, CropRounding rounding) {
  if (rounding == CropRounding::kFloor) return (in - crop) / 2;
  return static_cast<int>(std::nearbyint((in - crop) / 2.0));
}

int FractionOffset(int side, double fraction) {
  return static_cast<int>((side - side * fraction) / 2);
}

// The first pixel and the length of the central part of `side` pixels of an axis, both ends
// rounded.
std::pair<int, int> RoundedSpan(int in, double side) {
  const int first = static_cast<int>(std::nearbyint((in - side) / 2));
  const int last = static_cast<int>(std::nearbyint((in + side) / 2));
  return last > first ? std::pair(first, last - first) : std::pair(std::min(first, in - 1), 1);
}

// Checks one step after the other without an image.
class Checker {
 public:
  explicit Checker(int channels) : channels_(channels) {}

  absl::Status Check(const PreprocessStep& step) {
    return std::visit([this](const auto& s) { return Visit(s); }, step);
  }

  // Known as soon as a step fixes it.
  const std::optional<Size>& size() const { return size_; }

 private:
  absl::Status Visit(const ResizeShorterSide& step) {
    ZOOD_RETURN_IF_ERROR(CheckSide("size", step.size));
    shorter_side_ = step.size;
    return AfterResize(step, step.filter);
  }
  absl::Status Visit(const Resize& step) {
    ZOOD_RETURN_IF_ERROR(Fix(step.height, step.width));
    return AfterResize(step, step.filter);
  }
  absl::Status Visit(const CentralCrop& step) {
    const std::optional<Size> before = size_;
    // Of an image of any shape, one side has no more pixels than this.
    if (!before && std::min(step.height, step.width) > shorter_side_) {
      return InvalidArgument(
          "a crop of {} x {} pixels (width x height) fits into no image whose shorter side is {}",
          step.width, step.height, shorter_side_);
    }
    ZOOD_RETURN_IF_ERROR(Fix(step.height, step.width));
    return before ? WindowOf(step, *before).status() : absl::OkStatus();
  }
  absl::Status Visit(const CentralCropFraction& step) { return CheckFraction(step, step.fraction); }
  absl::Status Visit(const CentralSquare& step) { return CheckFraction(step, step.fraction); }
  absl::Status Visit(const CropOrPad& step) {
    if (!std::isfinite(step.padding)) return InvalidArgument("padding is not a finite number");
    if (!IsByte(step.padding)) is_float_ = true;
    return Fix(step.height, step.width);
  }
  absl::Status Visit(const Subtract& step) { return CheckValues(step.values, true); }
  absl::Status Visit(const Multiply& step) { return CheckValues(step.values, true); }
  absl::Status Visit(const Divide& step) { return CheckValues(step.values, false); }
  absl::Status Visit(const Standardize&) {
    is_float_ = true;
    return absl::OkStatus();
  }

  static absl::Status CheckSide(const char* field, int side) {
    if (side >= 1 && side <= kMaxSide) return absl::OkStatus();
    return InvalidArgument("{} is {}, expected 1 to {}", field, side, kMaxSide);
  }

  absl::Status Fix(int height, int width) {
    ZOOD_RETURN_IF_ERROR(CheckSide("height", height));
    ZOOD_RETURN_IF_ERROR(CheckSide("width", width));
    size_ = Size{height, width};
    return CheckPixels(*size_);
  }

  absl::Status AfterResize(const PreprocessStep& step, ResizeFilter filter) {
    if (IsPillow(filter) && is_float_) {
      return InvalidArgument(
          "filter is one of Pillow's, which work on 8-bit pixels; it must come before arithmetic "
          "and before tf_* filters");
    }
    is_float_ = !IsPillow(filter);
    if (!size_) return absl::OkStatus();
    ZOOD_ASSIGN_OR_RETURN(const ResizeTarget target, TargetOf(step, *size_));
    size_ = target.size;
    return absl::OkStatus();
  }

  absl::Status CheckFraction(const PreprocessStep& step, double fraction) {
    if (!(fraction > 0 && fraction <= 1)) {
      return InvalidArgument("fraction is {}, expected more than 0 and at most 1", fraction);
    }
    if (!size_) {
      // Each edge is rounded on its own: a pixel more or less.
      shorter_side_ = static_cast<int>(shorter_side_ * fraction) + 2;
      return absl::OkStatus();
    }
    ZOOD_ASSIGN_OR_RETURN(const Window window, WindowOf(step, *size_));
    size_ = Size{window.height, window.width};
    return absl::OkStatus();
  }

  absl::Status CheckValues(const std::vector<float>& values, bool zero_allowed) {
    is_float_ = true;
    if (values.size() != 1 && values.size() != static_cast<std::size_t>(channels_)) {
      return InvalidArgument("values has {} numbers, expected 1 or one for each of {} channels",
                             values.size(), channels_);
    }
    for (const float value : values) {
      if (!std::isfinite(value)) return InvalidArgument("values has a number that is not finite");
      if (value == 0 && !zero_allowed) return InvalidArgument("values has a 0 to divide by");
    }
    return absl::OkStatus();
  }

  const int channels_;
  std::optional<Size> size_;
  int shorter_side_ = kMaxSide;  // at most, while the size is unknown
  bool is_float_ = false;
};

}  // namespace

const char* NameOf(const PreprocessStep& step) {
  static constexpr const char* kNames[] = {"resize_shorter_side",
                                           "resize",
                                           "central_crop",
                                           "central_crop_fraction",
                                           "central_square",
                                           "crop_or_pad",
                                           "subtract",
                                           "multiply",
                                           "divide",
                                           "standardize"};
  static_assert(std::size(kNames) == std::variant_size_v<PreprocessStep>);
  return kNames[step.index()];
}

namespace {

template <std::size_t kIndex = 0>
absl::StatusOr<PreprocessStep> FindStep(std::string_view name) {
  if constexpr (kIndex < std::variant_size_v<PreprocessStep>) {
    PreprocessStep step(std::in_place_index<kIndex>);
    if (name == NameOf(step)) return step;
    return FindStep<kIndex + 1>(name);
  } else {
    return InvalidArgument("there is no step of type \"{}\"", name);
  }
}

}  // namespace

absl::StatusOr<PreprocessStep> StepNamed(std::string_view name) { return FindStep(name); }

std::string Place(std::size_t index, const PreprocessStep& step) {
  return fmt::format("steps[{}] ({})", index, NameOf(step));
}

ResampleFilter PillowFilter(ResizeFilter filter) {
  switch (filter) {
    case ResizeFilter::kPillowBox:
      return ResampleFilter::kBox;
    case ResizeFilter::kPillowBicubic:
      return ResampleFilter::kBicubic;
    case ResizeFilter::kPillowLanczos:
      return ResampleFilter::kLanczos;
    default:
      return ResampleFilter::kBilinear;
  }
}

BilinearGrid TfGrid(ResizeFilter filter) {
  switch (filter) {
    case ResizeFilter::kTfBilinearAlignCorners:
      return BilinearGrid::kAlignCorners;
    case ResizeFilter::kTfBilinearHalfPixel:
      return BilinearGrid::kHalfPixel;
    default:
      return BilinearGrid::kLegacy;
  }
}

bool IsByte(float value) { return value >= 0 && value <= 255 && std::trunc(value) == value; }

bool IsResize(const PreprocessStep& step) {
  return std::holds_alternative<ResizeShorterSide>(step) || std::holds_alternative<Resize>(step);
}

absl::StatusOr<ResizeTarget> TargetOf(const PreprocessStep& step, Size in) {
  if (const auto* fixed = std::get_if<Resize>(&step)) {
    return ResizeTarget{.size = {fixed->height, fixed->width}, .filter = fixed->filter};
  }
  const auto& shorter_side = std::get<ResizeShorterSide>(step);
  ZOOD_ASSIGN_OR_RETURN(const Size size, ResizedSize(shorter_side, in));
  return ResizeTarget{.size = size, .filter = shorter_side.filter};
}

bool IsCrop(const PreprocessStep& step) {
  return std::holds_alternative<CentralCrop>(step) ||
         std::holds_alternative<CentralCropFraction>(step) ||
         std::holds_alternative<CentralSquare>(step);
}

absl::StatusOr<Window> WindowOf(const PreprocessStep& step, Size in) {
  if (const auto* crop = std::get_if<CentralCrop>(&step)) {
    if (crop->height > in.height || crop->width > in.width) {
      return InvalidArgument(
          "a crop of {} x {} pixels (width x height) does not fit into {} x {} pixels", crop->width,
          crop->height, in.width, in.height);
    }
    return Window{CropOffset(in.height, crop->height, crop->rounding),
                  CropOffset(in.width, crop->width, crop->rounding), crop->height, crop->width};
  }
  if (const auto* crop = std::get_if<CentralCropFraction>(&step)) {
    // A fraction near 0 would keep nothing of an even side; its middle is kept.
    const int top = std::min(FractionOffset(in.height, crop->fraction), (in.height - 1) / 2);
    const int left = std::min(FractionOffset(in.width, crop->fraction), (in.width - 1) / 2);
    return Window{top, left, in.height - 2 * top, in.width - 2 * left};
  }
  if (const auto* crop = std::get_if<CentralSquare>(&step)) {
    const double side = crop->fraction * std::min(in.height, in.width);
    const auto [top, height] = RoundedSpan(in.height, side);
    const auto [left, width] = RoundedSpan(in.width, side);
    return Window{top, left, height, width};
  }
  const auto& crop = std::get<CropOrPad>(step);
  const int height = std::min(crop.height, in.height);
  const int width = std::min(crop.width, in.width);
  return Window{(in.height - height) / 2, (in.width - width) / 2, height, width};
}

absl::Status CheckPixels(Size size) {
  if (std::int64_t{size.height} * size.width <= kMaxStepPixels) return absl::OkStatus();
  return ResourceExhausted("the step makes {} x {} pixels (width x height); {} are allowed",
                           size.width, size.height, kMaxStepPixels);
}

absl::StatusOr<Shape> OutputShape(const PreprocessSpec& spec) {
  const int channels = spec.decode.channels;
  if (channels != 1 && channels != 3) {
    return InvalidArgument("decode.channels is {}, expected 1 (gray) or 3 (RGB)", channels);
  }
  if (spec.steps.size() > kMaxSteps) {
    return InvalidArgument("steps: {} steps, at most {} are allowed", spec.steps.size(), kMaxSteps);
  }
  Checker checker(channels);
  for (std::size_t i = 0; i < spec.steps.size(); ++i) {
    ZOOD_RETURN_IF_ERROR(Annotate(checker.Check(spec.steps[i]), Place(i, spec.steps[i])));
  }
  if (!checker.size()) {
    return InvalidArgument(
        "steps: none of the {} steps fixes the size of the result; end with resize, central_crop "
        "or crop_or_pad",
        spec.steps.size());
  }
  return Shape({checker.size()->height, checker.size()->width, channels});
}

}  // namespace zood::image
