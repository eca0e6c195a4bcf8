// The header of a .npy file: what the array that follows is.
// Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "base/dtype.h"
#include "base/shape.h"
#include "base/tensor.h"

namespace zood::checkpoint {

inline constexpr std::string_view kNpyMagic = "\x93NUMPY";
inline constexpr int kNpyHighestRank = 64;  // NumPy's own
// With the magic and its own length. NumPy itself evaluates no longer one of a file from strangers.
inline constexpr std::size_t kLongestNpyHeader = 10'000 + 12;

// How the elements of an array lie.
struct NpyLayout {
  DType dtype = DType::kFloat32;
  bool is_big_endian = false;
  bool is_fortran = false;  // the first axis is the fastest
};

struct NpyHeader {
  NpyLayout layout;
  Shape shape;
  std::size_t size = 0;  // of the header: the elements follow
  std::string unread;    // why the elements are no tensor; empty where they are one
};

// A NumPy type by its text: "<f4". Its reason where a tensor cannot have it.
struct NpyType {
  DType dtype = DType::kFloat32;
  bool is_big_endian = false;
  std::string unread;
};
NpyType NpyTypeOf(std::string_view text);

// Reads the header at the start of `bytes`, of which kLongestNpyHeader are enough. Its shape is
// sound. DataLoss when it is damaged; Unimplemented for versions after 3 and for headers longer
// than kLongestNpyHeader.
absl::StatusOr<NpyHeader> ParseNpyHeader(std::span<const std::byte> bytes);

// DataLoss unless a file of `size` bytes holds the header's elements and nothing else.
absl::Status CheckNpySize(const NpyHeader& header, std::uint64_t size);

// The tensor that these elements are; they are shared with `owner` where their layout allows it.
absl::StatusOr<Tensor> TensorOf(const NpyLayout& layout, const Shape& shape,
                                std::span<const std::byte> elements,
                                std::shared_ptr<const void> owner);

}  // namespace zood::checkpoint
