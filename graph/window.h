// How a window moves over a feature map: convolution's and pooling's arithmetic.
#pragma once

#include "absl/status/statusor.h"
#include "base/shape.h"
#include "graph/net.h"
#include "graph/op.h"

namespace zood::graph {

// More than any network needs, and little enough that no shape arithmetic overflows.
inline constexpr std::int64_t kMaxExtent = 1 << 20;

struct Window {
  Size2d kernel;
  Size2d stride;
  Size2d rate;  // dilation
  Padding padding = kValid;
};

struct WindowPlan {
  Size2d output;
  Padding2d padding;
};

// Where `window` stops on a map of the shape [?, H, W, C]. InvalidArgument where `map` is no
// feature map, a member is out of range, or the map is too small for the kernel; the caller names
// the layer.
absl::StatusOr<WindowPlan> PlanWindow(const Shape& map, const Window& window);

}  // namespace zood::graph
