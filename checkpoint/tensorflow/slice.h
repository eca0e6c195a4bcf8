// Slices of partitioned TensorFlow variables: where they lie in the whole, the keys they are stored
// under, and how they are put together.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "base/shape.h"
#include "base/tensor.h"

namespace zood::checkpoint {

// The part of one axis that a slice covers.
struct Extent {
  static constexpr std::int64_t kFull = -1;

  std::int64_t start = 0;
  std::int64_t length = kFull;  // kFull: the whole axis, whatever it measures
};

// One extent for each axis; a scalar has none.
using Slice = std::vector<Extent>;

// The key of a slice in a table, which sorts like (name, extents): TensorFlow's
// EncodeTensorNameSlice, in the encoding of its lib/strings/ordered_code.h.
std::string EncodeTensorNameSlice(std::string_view name, const Slice& slice);

// `slice` with every length explicit. DataLoss when it does not lie within `shape`.
absl::StatusOr<Slice> ResolveSlice(const Shape& shape, const Slice& slice);

// "[0:4,3:5]", a full axis as "-".
std::string ToString(const Slice& slice);

// The tensor that `slices` cover, each element once; otherwise DataLoss, before anything is read
// where the numbers of elements show it. read(i, its shape) fetches the elements of slices[i].
absl::StatusOr<Tensor> AssembleSlices(
    DType dtype, const Shape& shape, std::span<const Slice> slices,
    const std::function<absl::StatusOr<Tensor>(std::size_t, const Shape&)>& read);

}  // namespace zood::checkpoint
