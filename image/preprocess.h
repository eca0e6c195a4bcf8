// From bytes to a network's input, as a value.
//
// A PreprocessSpec says everything about the way: how the file is decoded, the order of colors,
// and a sequence of steps, each one operation of the framework that the checkpoint was trained
// with. It is stored with each version of a model, as JSON. image/presets.h has those of published
// networks.
//
// Every part names its fields once, in VisitFields(), and every enumeration its values, in
// NamesOf(): the stored JSON and the API's messages follow from these. What a visitor is called
// with visit(name, field) for has been there since the first stored form; visit.Optional(name,
// field) is for fields that came later, whose default is what had been done before.
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/fields.h"
#include "base/shape.h"
#include "image/decode.h"
#include "image/image.h"

namespace zood::image {

enum class ChannelOrder { kRgb, kBgr };
constexpr auto NamesOf(ChannelOrder) { return std::to_array({"rgb", "bgr"}); }

// The tf_* filters work on floats, the pillow_* ones on 8-bit pixels only: they must come before
// any arithmetic. image/resize.h says what each computes.
enum class ResizeFilter {
  kTfBilinear,
  kTfBilinearAlignCorners,
  kTfBilinearHalfPixel,
  kPillowBox,
  kPillowBilinear,
  kPillowBicubic,
  kPillowLanczos,
};
constexpr auto NamesOf(ResizeFilter) {
  return std::to_array({"tf_bilinear", "tf_bilinear_align_corners", "tf_bilinear_half_pixel",
                        "pillow_box", "pillow_bilinear", "pillow_bicubic", "pillow_lanczos"});
}

// How the longer side follows the shorter one.
enum class SideRounding {
  kNearestEven,  // slim: rint(side * (size / shorter)), in float32
  kTruncate,     // torchvision: int(size * longer / shorter), in double
};
constexpr auto NamesOf(SideRounding) { return std::to_array({"nearest_even", "truncate"}); }

// Where the odd row of a central crop goes: offset of (in - crop) / 2.
enum class CropRounding {
  kFloor,        // slim, Caffe
  kNearestEven,  // torchvision, Python's round()
};
constexpr auto NamesOf(CropRounding) { return std::to_array({"floor", "nearest_even"}); }

// Both sides are scaled by the same factor so that the shorter one becomes `size`.
struct ResizeShorterSide {
  int size = 0;
  ResizeFilter filter = ResizeFilter::kTfBilinear;
  SideRounding rounding = SideRounding::kNearestEven;
  ZOOD_VISIT_FIELDS(size, filter, rounding)
  friend bool operator==(const ResizeShorterSide&, const ResizeShorterSide&) = default;
};

// To exactly this size; the aspect ratio is not kept.
struct Resize {
  int height = 0;
  int width = 0;
  ResizeFilter filter = ResizeFilter::kTfBilinear;
  ZOOD_VISIT_FIELDS(height, width, filter)
  friend bool operator==(const Resize&, const Resize&) = default;
};

// The middle of the image, which must be at least this large.
struct CentralCrop {
  int height = 0;
  int width = 0;
  CropRounding rounding = CropRounding::kFloor;
  ZOOD_VISIT_FIELDS(height, width, rounding)
  friend bool operator==(const CentralCrop&, const CentralCrop&) = default;
};

// tf.image.central_crop: int((side - side * fraction) / 2), in double, cut off at either end.
struct CentralCropFraction {
  double fraction = 1.0;  // in (0, 1]
  ZOOD_VISIT_FIELDS(fraction)
  friend bool operator==(const CentralCropFraction&, const CentralCropFraction&) = default;
};

// The central square whose side is fraction * the shorter side. Each of its four edges is rounded
// to a pixel by itself, half to even, as Pillow's Image.crop does it: a side may come out one
// longer.
struct CentralSquare {
  double fraction = 1.0;  // in (0, 1]
  ZOOD_VISIT_FIELDS(fraction)
  friend bool operator==(const CentralSquare&, const CentralSquare&) = default;
};

// tf.image.resize_with_crop_or_pad: each side is centrally cropped or padded to its length.
struct CropOrPad {
  int height = 0;
  int width = 0;
  float padding = 0;
  ZOOD_VISIT_FIELDS(height, width, padding)
  friend bool operator==(const CropOrPad&, const CropOrPad&) = default;
};

// Arithmetic in float32, one rounding a step. One value for all channels, or one for each, in the
// order of `channel_order`.
struct Subtract {
  std::vector<float> values;
  ZOOD_VISIT_FIELDS(values)
  friend bool operator==(const Subtract&, const Subtract&) = default;
};
struct Multiply {
  std::vector<float> values;
  ZOOD_VISIT_FIELDS(values)
  friend bool operator==(const Multiply&, const Multiply&) = default;
};
struct Divide {
  std::vector<float> values;
  ZOOD_VISIT_FIELDS(values)
  friend bool operator==(const Divide&, const Divide&) = default;
};

// tf.image.per_image_standardization: (x - mean) / max(standard deviation, 1 / sqrt(N)) over all N
// values of the image; moments in double.
struct Standardize {
  ZOOD_VISIT_FIELDS()
  friend bool operator==(const Standardize&, const Standardize&) = default;
};

using PreprocessStep =
    std::variant<ResizeShorterSide, Resize, CentralCrop, CentralCropFraction, CentralSquare,
                 CropOrPad, Subtract, Multiply, Divide, Standardize>;

// The name of a step in JSON, in the API and in messages: "resize_shorter_side".
const char* NameOf(const PreprocessStep& step);
// The step of that name with all its defaults; InvalidArgument where there is none.
absl::StatusOr<PreprocessStep> StepNamed(std::string_view name);

// A spec with more steps is refused.
inline constexpr std::size_t kMaxSteps = 64;

// A value type. `steps` are applied in order; together they must fix the size of the result.
struct PreprocessSpec {
  DecodeOptions decode;  // decode.channels is also the number of channels of the result
  ChannelOrder channel_order = ChannelOrder::kRgb;
  std::vector<PreprocessStep> steps;

  friend bool operator==(const PreprocessSpec&, const PreprocessSpec&) = default;
};

// The shape [height, width, channels] of the result. This is also the one check that a spec is
// sound, whether it comes from a store, from the API or from a file: InvalidArgument names the step
// and the field otherwise, ResourceExhausted a step that would make too large an image.
absl::StatusOr<Shape> OutputShape(const PreprocessSpec& spec);

// Applies the steps to an RGB or gray image (the number of channels must be that of the spec) and
// writes OutputShape(spec)'s floats, HWC. Thread-safe. What is in `out` after an error is
// unspecified. Errors: InvalidArgument for an unsound spec, an image that a crop does not fit
// into, or an `out` of the wrong length; ResourceExhausted for a step that would make an image of
// more than 2^26 pixels, and where memory runs out.
absl::Status Preprocess(const PreprocessSpec& spec, const Image& image, std::span<float> out);

// Applies the arithmetic steps alone (Subtract, Multiply, Divide, Standardize), in their order, to
// an image of the result's size with values of 0 to 255, and writes it in the spec's order of
// channels: for images that were resized and cropped in another way, as training does. Errors are
// those of Preprocess.
absl::Status Normalize(const PreprocessSpec& spec, const FloatImage& image, std::span<float> out);

// Decodes and preprocesses. Errors are those of Decode and Preprocess.
absl::Status PreprocessEncoded(const PreprocessSpec& spec, std::span<const std::byte> bytes,
                               const DecodeLimits& limits, std::span<float> out);

// The spec as JSON, and back. Names are stable; "version" counts changes of meaning. Reading is
// strict: an unknown, missing or ill-typed field is InvalidArgument with its path, and so is a spec
// that OutputShape refuses. Optional fields are written where they differ from their default, so
// that what does without them reads as before. ToJson(*FromJson(text)) keeps every value.
std::string ToJson(const PreprocessSpec& spec);
absl::StatusOr<PreprocessSpec> PreprocessSpecFromJson(std::string_view json);

}  // namespace zood::image
