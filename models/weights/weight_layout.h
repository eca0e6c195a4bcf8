// How other frameworks order the axes of a weight that we keep as TensorFlow does.
#pragma once

#include "absl/status/statusor.h"
#include "base/shape.h"
#include "base/tensor.h"

namespace zood::models {

enum class WeightLayout {
  kSame,       // as ours
  kConv,       // [out, in / groups, height, width] for our [height, width, in / groups, out]
  kDepthwise,  // [channels * multiplier, 1, height, width] for our [height, width, channels,
               // multiplier]
  kLinear,     // [out, in] for [in, out]
};

// Whether a weight of shape `ours` has the number of axes that `layout` is about.
bool HasAxesOf(WeightLayout layout, const Shape& ours);

// The shape that a weight of shape `ours` has in `layout`, whose axes it must have.
Shape ShapeIn(WeightLayout layout, const Shape& ours);

// `tensor`, which is of shape ShapeIn(layout, ours), with its elements in our order and as float32.
// InvalidArgument for another shape and for what is not a number.
absl::StatusOr<Tensor> FromLayout(WeightLayout layout, const Tensor& tensor, const Shape& ours);

}  // namespace zood::models
