// The values that steps compute: what each is, and where it lies.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/dtype.h"
#include "base/shape.h"
#include "engine/kernels/view.h"

namespace zood::engine {

// How a value's elements are ordered in memory.
enum class Layout {
  kRows,    // row-major; a feature map is NHWC
  kOpaque,  // as the steps that touch it have agreed: scratch memory, packed weights
};

struct ValueType {
  Shape shape;  // with the batch
  DType dtype = DType::kFloat32;
  Layout layout = Layout::kRows;

  static ValueType Floats(std::size_t count) { return {.shape = {Extent(count)}}; }
  static ValueType Bytes(std::size_t count) {
    return {.shape = {Extent(count)}, .dtype = DType::kUInt8, .layout = Layout::kOpaque};
  }

  std::size_t elements() const { return static_cast<std::size_t>(shape.num_elements()); }
  std::size_t bytes() const { return elements() * SizeOf(dtype); }

  friend bool operator==(const ValueType&, const ValueType&) = default;

 private:
  static std::int64_t Extent(std::size_t count) { return static_cast<std::int64_t>(count); }
};

// A value of a tape; see Tape.
using ValueId = int;

// Rows of channels of a value: all of it, or some channels of each row. Rows are pixels of a
// feature map, or vectors.
struct Place {
  ValueId value = -1;
  std::size_t offset = 0;  // bytes from the value's start
  std::size_t rows = 0;
  std::size_t channels = 0;
  std::size_t stride = 0;  // bytes from one row to the next
  DType dtype = DType::kFloat32;

  // All of `value`, which is of `type`.
  static Place Whole(ValueId value, const ValueType& type) {
    const auto channels = static_cast<std::size_t>(type.shape.back());
    return {.value = value,
            .rows = type.elements() / channels,
            .channels = channels,
            .stride = channels * SizeOf(type.dtype),
            .dtype = type.dtype};
  }
  // `count` channels of each row, from `first` on.
  Place Channels(std::size_t first, std::size_t count) const {
    Place part = *this;
    part.offset += first * SizeOf(dtype);
    part.channels = count;
    return part;
  }
  // The same elements in rows of another length, where there are no gaps.
  Place InRowsOf(std::size_t other_channels) const {
    Place other = *this;
    other.rows = elements() / other_channels;
    other.channels = other_channels;
    other.stride = other_channels * SizeOf(dtype);
    return other;
  }

  bool is_dense() const { return stride == channels * SizeOf(dtype); }
  std::size_t elements() const { return rows * channels; }
};

// Where the values of a tape lie, once there is memory.
class Memory {
 public:
  explicit Memory(std::vector<std::byte*> addresses) : addresses_(std::move(addresses)) {}

  template <typename T>
  T* At(ValueId id) const {
    return reinterpret_cast<T*>(addresses_[static_cast<std::size_t>(id)]);
  }
  View operator[](const Place& place) const {
    return {.data = At<std::byte>(place.value) + place.offset,
            .pixels = place.rows,
            .channels = place.channels,
            .stride = place.stride,
            .dtype = place.dtype};
  }

 private:
  std::vector<std::byte*> addresses_;
};

}  // namespace zood::engine
