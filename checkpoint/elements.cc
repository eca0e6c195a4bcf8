#include "checkpoint/elements.h"

#include <algorithm>

#include "base/status.h"

namespace zood::checkpoint {

absl::Status CheckBools(std::span<const std::byte> elements) {
  if (std::ranges::any_of(elements, [](std::byte b) { return b > std::byte{1}; })) {
    return DataLoss("a bool is neither 0 nor 1");
  }
  return absl::OkStatus();
}

void SwapByteOrder(DType dtype, std::span<std::byte> elements) {
  const bool is_complex = dtype == DType::kComplex64 || dtype == DType::kComplex128;
  const std::size_t size = SizeOf(dtype) / (is_complex ? 2 : 1);
  for (std::size_t at = 0; at + size <= elements.size(); at += size) {
    std::ranges::reverse(elements.subspan(at, size));
  }
}

}  // namespace zood::checkpoint
