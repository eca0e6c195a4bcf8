// The geometry of preprocessing steps: what each makes of a size. Private to this room.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "image/image.h"
#include "image/preprocess.h"
#include "image/resize.h"

namespace zood::image {

// No step may make an image of more pixels.
inline constexpr std::int64_t kMaxStepPixels = std::int64_t{1} << 26;

// "steps[2] (central_crop)"
std::string Place(std::size_t index, const PreprocessStep& step);

inline bool IsPillow(ResizeFilter filter) { return filter >= ResizeFilter::kPillowBox; }
ResampleFilter PillowFilter(ResizeFilter filter);
BilinearGrid TfGrid(ResizeFilter filter);

// True where a step that pads can stay with 8-bit pixels.
bool IsByte(float value);

// The size of a resizing step, whichever of the two it is.
struct ResizeTarget {
  Size size;
  ResizeFilter filter = ResizeFilter::kTfBilinear;
};
bool IsResize(const PreprocessStep& step);
absl::StatusOr<ResizeTarget> TargetOf(const PreprocessStep& step, Size in);

// The part that a cropping step keeps. A CropOrPad may keep less than its size.
bool IsCrop(const PreprocessStep& step);  // one that never pads
absl::StatusOr<Window> WindowOf(const PreprocessStep& step, Size in);

// ResourceExhausted over kMaxStepPixels.
absl::Status CheckPixels(Size size);

}  // namespace zood::image
