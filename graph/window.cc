#include "graph/window.h"

#include <algorithm>

#include "base/status.h"

namespace zood::graph {
namespace {

constexpr int kMaxKernel = 4096;

absl::Status CheckPadding(const Padding& padding) {
  const auto* given = std::get_if<Padding2d>(&padding);
  if (given == nullptr) return absl::OkStatus();
  for (const int extent : {given->top, given->bottom, given->left, given->right}) {
    if (extent >= 0 && extent <= kMaxExtent) continue;
    return InvalidArgument("expected a padding from 0 to {}, found {}", kMaxExtent, extent);
  }
  return absl::OkStatus();
}

absl::Status Check(const Shape& map, const Window& window) {
  if (map.rank() != 4) {
    return InvalidArgument("expected a feature map, found {}", map.ToString());
  }
  const auto& [kernel, stride, rate, padding] = window;
  const auto within = [](Size2d size, std::int64_t most) {
    return std::min(size.height, size.width) >= 1 && std::max(size.height, size.width) <= most;
  };
  if (!within(kernel, kMaxKernel) || !within(stride, kMaxExtent) || !within(rate, kMaxKernel)) {
    return InvalidArgument("no window of {}x{} with stride {}x{} and rate {}x{}", kernel.height,
                           kernel.width, stride.height, stride.width, rate.height, rate.width);
  }
  return CheckPadding(padding);
}

// One axis of a window's way.
struct Axis {
  int output = 0;  // 0 when no window fits
  int before = 0;
  int after = 0;
};

Axis Slide(const Padding& padding, bool vertical, int input, int kernel, int stride, int rate) {
  const int extent = (kernel - 1) * rate + 1;
  Axis axis;
  if (const auto* given = std::get_if<Padding2d>(&padding)) {
    axis.before = vertical ? given->top : given->left;
    axis.after = vertical ? given->bottom : given->right;
  } else if (std::get<AutoPadding>(padding) == AutoPadding::kFixed) {
    axis.before = (extent - 1) / 2;
    axis.after = extent - 1 - axis.before;
  } else if (std::get<AutoPadding>(padding) == AutoPadding::kSame) {
    const int output = (input + stride - 1) / stride;
    const int total = std::max((output - 1) * stride + extent - input, 0);
    axis.before = total / 2;
    axis.after = total - axis.before;
  }
  const int room = input + axis.before + axis.after - extent;
  axis.output = room < 0 ? 0 : room / stride + 1;
  return axis;
}

}  // namespace

absl::StatusOr<WindowPlan> PlanWindow(const Shape& map, const Window& window) {
  ZOOD_RETURN_IF_ERROR(Check(map, window));
  const auto& [kernel, stride, rate, padding] = window;
  const int height = static_cast<int>(map[1]);
  const int width = static_cast<int>(map[2]);
  const Axis rows = Slide(padding, true, height, kernel.height, stride.height, rate.height);
  const Axis columns = Slide(padding, false, width, kernel.width, stride.width, rate.width);
  if (rows.output == 0 || columns.output == 0) {
    return InvalidArgument("a {}x{} map is too small for a {}x{} window: use larger images", height,
                           width, kernel.height, kernel.width);
  }
  return WindowPlan{.output = {rows.output, columns.output},
                    .padding = {rows.before, rows.after, columns.before, columns.after}};
}

}  // namespace zood::graph
