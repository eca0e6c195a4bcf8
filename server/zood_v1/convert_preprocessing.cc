#include <utility>
#include <variant>

#include "base/status.h"
#include "server/zood_v1/convert.h"

namespace zood::server {
namespace {

using image::ResizeFilter;

absl::StatusOr<ResizeFilter> ToFilter(v1::ResizeFilter filter) {
  switch (filter) {
    case v1::RESIZE_FILTER_UNSPECIFIED:
    case v1::TF_BILINEAR:
      return ResizeFilter::kTfBilinear;
    case v1::TF_BILINEAR_ALIGN_CORNERS:
      return ResizeFilter::kTfBilinearAlignCorners;
    case v1::TF_BILINEAR_HALF_PIXEL:
      return ResizeFilter::kTfBilinearHalfPixel;
    case v1::PILLOW_BOX:
      return ResizeFilter::kPillowBox;
    case v1::PILLOW_BILINEAR:
      return ResizeFilter::kPillowBilinear;
    case v1::PILLOW_BICUBIC:
      return ResizeFilter::kPillowBicubic;
    case v1::PILLOW_LANCZOS:
      return ResizeFilter::kPillowLanczos;
    default:
      return InvalidArgument("unknown resize filter {}", static_cast<int>(filter));
  }
}

v1::ResizeFilter ToProto(ResizeFilter filter) {
  switch (filter) {
    case ResizeFilter::kTfBilinear:
      return v1::TF_BILINEAR;
    case ResizeFilter::kTfBilinearAlignCorners:
      return v1::TF_BILINEAR_ALIGN_CORNERS;
    case ResizeFilter::kTfBilinearHalfPixel:
      return v1::TF_BILINEAR_HALF_PIXEL;
    case ResizeFilter::kPillowBox:
      return v1::PILLOW_BOX;
    case ResizeFilter::kPillowBilinear:
      return v1::PILLOW_BILINEAR;
    case ResizeFilter::kPillowBicubic:
      return v1::PILLOW_BICUBIC;
    case ResizeFilter::kPillowLanczos:
      return v1::PILLOW_LANCZOS;
  }
  return v1::RESIZE_FILTER_UNSPECIFIED;
}

std::vector<float> ToVector(const v1::PreprocessStep::Values& values) {
  return {values.values().begin(), values.values().end()};
}

absl::StatusOr<image::PreprocessStep> ToStep(const v1::PreprocessStep& step) {
  using Shorter = v1::PreprocessStep::ResizeShorterSide;
  using Crop = v1::PreprocessStep::CentralCrop;
  switch (step.step_case()) {
    case v1::PreprocessStep::kResizeShorterSide: {
      const Shorter& from = step.resize_shorter_side();
      ZOOD_ASSIGN_OR_RETURN(const ResizeFilter filter, ToFilter(from.filter()));
      return image::ResizeShorterSide{.size = from.size(),
                                      .filter = filter,
                                      .rounding = from.rounding() == Shorter::TRUNCATE
                                                      ? image::SideRounding::kTruncate
                                                      : image::SideRounding::kNearestEven};
    }
    case v1::PreprocessStep::kResize: {
      ZOOD_ASSIGN_OR_RETURN(const ResizeFilter filter, ToFilter(step.resize().filter()));
      return image::Resize{
          .height = step.resize().height(), .width = step.resize().width(), .filter = filter};
    }
    case v1::PreprocessStep::kCentralCrop: {
      const Crop& from = step.central_crop();
      return image::CentralCrop{.height = from.height(),
                                .width = from.width(),
                                .rounding = from.rounding() == Crop::NEAREST_EVEN
                                                ? image::CropRounding::kNearestEven
                                                : image::CropRounding::kFloor};
    }
    case v1::PreprocessStep::kCentralCropFraction:
      return image::CentralCropFraction{step.central_crop_fraction().fraction()};
    case v1::PreprocessStep::kCentralSquare:
      return image::CentralSquare{step.central_square().fraction()};
    case v1::PreprocessStep::kCropOrPad:
      return image::CropOrPad{.height = step.crop_or_pad().height(),
                              .width = step.crop_or_pad().width(),
                              .padding = step.crop_or_pad().padding()};
    case v1::PreprocessStep::kSubtract:
      return image::Subtract{ToVector(step.subtract())};
    case v1::PreprocessStep::kMultiply:
      return image::Multiply{ToVector(step.multiply())};
    case v1::PreprocessStep::kDivide:
      return image::Divide{ToVector(step.divide())};
    case v1::PreprocessStep::kStandardize:
      return image::Standardize{};
    case v1::PreprocessStep::STEP_NOT_SET:
      break;
  }
  return InvalidArgument("the step is empty");
}

// One overload for each step.
struct StepWriter {
  v1::PreprocessStep* to;

  void operator()(const image::ResizeShorterSide& step) const {
    auto* message = to->mutable_resize_shorter_side();
    message->set_size(step.size);
    message->set_filter(ToProto(step.filter));
    message->set_rounding(step.rounding == image::SideRounding::kTruncate
                              ? v1::PreprocessStep::ResizeShorterSide::TRUNCATE
                              : v1::PreprocessStep::ResizeShorterSide::NEAREST_EVEN);
  }
  void operator()(const image::Resize& step) const {
    auto* message = to->mutable_resize();
    message->set_height(step.height);
    message->set_width(step.width);
    message->set_filter(ToProto(step.filter));
  }
  void operator()(const image::CentralCrop& step) const {
    auto* message = to->mutable_central_crop();
    message->set_height(step.height);
    message->set_width(step.width);
    message->set_rounding(step.rounding == image::CropRounding::kNearestEven
                              ? v1::PreprocessStep::CentralCrop::NEAREST_EVEN
                              : v1::PreprocessStep::CentralCrop::FLOOR);
  }
  void operator()(const image::CentralCropFraction& step) const {
    to->mutable_central_crop_fraction()->set_fraction(step.fraction);
  }
  void operator()(const image::CentralSquare& step) const {
    to->mutable_central_square()->set_fraction(step.fraction);
  }
  void operator()(const image::CropOrPad& step) const {
    auto* message = to->mutable_crop_or_pad();
    message->set_height(step.height);
    message->set_width(step.width);
    message->set_padding(step.padding);
  }
  void operator()(const image::Subtract& step) const { Set(to->mutable_subtract(), step.values); }
  void operator()(const image::Multiply& step) const { Set(to->mutable_multiply(), step.values); }
  void operator()(const image::Divide& step) const { Set(to->mutable_divide(), step.values); }
  void operator()(const image::Standardize&) const { to->mutable_standardize(); }

  static void Set(v1::PreprocessStep::Values* message, const std::vector<float>& values) {
    message->mutable_values()->Add(values.begin(), values.end());
  }
};

}  // namespace

absl::StatusOr<image::PreprocessSpec> ToPreprocessSpec(const v1::Preprocessing& message) {
  image::PreprocessSpec spec;
  spec.decode.channels = message.channels() == 0 ? 3 : message.channels();
  spec.decode.dct = message.jpeg_dct() == v1::JPEG_DCT_INTEGER ? image::JpegDct::kInteger
                                                               : image::JpegDct::kIntegerFast;
  spec.decode.fancy_upsampling = !message.plain_upsampling();
  spec.channel_order = message.channel_order() == v1::CHANNEL_ORDER_BGR ? image::ChannelOrder::kBgr
                                                                        : image::ChannelOrder::kRgb;
  for (int i = 0; i < message.steps_size(); ++i) {
    absl::StatusOr<image::PreprocessStep> step = ToStep(message.steps(i));
    if (!step.ok()) return Annotate(step.status(), fmt::format("preprocessing: step {}", i));
    spec.steps.push_back(*std::move(step));
  }
  if (const auto shape = image::OutputShape(spec); !shape.ok()) {
    return Annotate(shape.status(), "preprocessing");
  }
  return spec;
}

void ToProto(const image::PreprocessSpec& spec, v1::Preprocessing* message) {
  message->set_channels(spec.decode.channels);
  message->set_jpeg_dct(spec.decode.dct == image::JpegDct::kInteger ? v1::JPEG_DCT_INTEGER
                                                                    : v1::JPEG_DCT_INTEGER_FAST);
  message->set_plain_upsampling(!spec.decode.fancy_upsampling);
  message->set_channel_order(spec.channel_order == image::ChannelOrder::kBgr
                                 ? v1::CHANNEL_ORDER_BGR
                                 : v1::CHANNEL_ORDER_RGB);
  for (const image::PreprocessStep& step : spec.steps) {
    std::visit(StepWriter{message->add_steps()}, step);
  }
}

}  // namespace zood::server
