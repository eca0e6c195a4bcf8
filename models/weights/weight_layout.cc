#include "models/weights/weight_layout.h"

#include <array>

#include "base/status.h"

namespace zood::models {

bool HasAxesOf(WeightLayout layout, const Shape& ours) {
  if (layout == WeightLayout::kSame) return true;
  return ours.rank() == (layout == WeightLayout::kLinear ? 2 : 4);
}

Shape ShapeIn(WeightLayout layout, const Shape& ours) {
  switch (layout) {
    case WeightLayout::kSame:
      return ours;
    case WeightLayout::kConv:
      return {ours[3], ours[2], ours[0], ours[1]};
    case WeightLayout::kDepthwise:
      return {ours[2] * ours[3], 1, ours[0], ours[1]};
    case WeightLayout::kLinear:
      return {ours[1], ours[0]};
  }
  return ours;
}

absl::StatusOr<Tensor> FromLayout(WeightLayout layout, const Tensor& tensor, const Shape& ours) {
  if (const Shape expected = ShapeIn(layout, ours); tensor.shape() != expected) {
    return InvalidArgument("expected {}, found {}", expected.ToString(), tensor.shape().ToString());
  }
  ZOOD_ASSIGN_OR_RETURN(const Tensor floats, tensor.ToFloat32());
  switch (layout) {
    case WeightLayout::kSame:
      return floats;
    case WeightLayout::kConv:
      return Transpose(floats, std::array{2, 3, 1, 0});
    case WeightLayout::kLinear:
      return Transpose(floats, std::array{1, 0});
    case WeightLayout::kDepthwise:
      break;
  }
  ZOOD_ASSIGN_OR_RETURN(const Tensor by_channel,
                        floats.Reshaped({ours[2], ours[3], ours[0], ours[1]}));
  return Transpose(by_channel, std::array{2, 3, 0, 1});
}

}  // namespace zood::models
