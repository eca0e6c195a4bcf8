// Elements as files hold them, on the way to a Tensor's.
#pragma once

#include <cstddef>
#include <span>

#include "absl/status/status.h"
#include "base/dtype.h"

namespace zood::checkpoint {

// DataLoss unless every byte is 0 or 1, as the elements of a kBool tensor must be.
absl::Status CheckBools(std::span<const std::byte> elements);

// Turns big-endian elements into little-endian ones. A complex number is two numbers.
void SwapByteOrder(DType dtype, std::span<std::byte> elements);

}  // namespace zood::checkpoint
