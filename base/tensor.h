// An immutable n-dimensional array and the map from names to such arrays that every weight file
// becomes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/dtype.h"
#include "base/shape.h"

namespace zood {

// A dtype, a shape, and row-major little-endian elements with shared ownership: copying a Tensor
// copies a pointer. The elements may live on the heap or in a mapped file; their owner is
// kept alive. Thread-safe, because nothing about it changes.
class Tensor {
 public:
  Tensor() = default;  // an empty float32 vector

  // Takes ownership of `values`. InvalidArgument unless shape and count agree.
  template <typename T>
  static absl::StatusOr<Tensor> FromVector(Shape shape, std::vector<T> values) {
    auto owner = std::make_shared<const std::vector<T>>(std::move(values));
    const auto bytes = std::as_bytes(std::span(*owner));
    return View(DTypeOf<T>(), std::move(shape), bytes, std::move(owner));
  }

  // Elements that `owner` keeps alive, without a copy; copied when `bytes` is not aligned for the
  // dtype (as in TensorFlow's bundles). InvalidArgument unless shape, dtype and size agree or if
  // dtype is kString.
  static absl::StatusOr<Tensor> View(DType dtype, Shape shape, std::span<const std::byte> bytes,
                                     std::shared_ptr<const void> owner);

  // A tensor of byte strings. InvalidArgument unless shape and count agree.
  static absl::StatusOr<Tensor> Strings(Shape shape, std::vector<std::string> values);

  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  std::int64_t num_elements() const { return shape_.num_elements(); }

  // The elements as raw bytes; empty for kString.
  std::span<const std::byte> bytes() const { return bytes_; }

  // The elements as `T`s. `T` must be the C++ type of dtype(), or std::uint16_t for 16-bit floats.
  template <typename T>
  std::span<const T> values() const {
    return {reinterpret_cast<const T*>(bytes_.data()), bytes_.size() / sizeof(T)};
  }

  // The elements of a kString tensor; empty for every other dtype.
  std::span<const std::string> strings() const { return strings_ ? *strings_ : kNoStrings; }

  // The same elements under another shape of equal count.
  absl::StatusOr<Tensor> Reshaped(Shape shape) const;

  // The elements converted to float32, sharing storage when they are already. InvalidArgument for
  // strings, bools and complex numbers, which no network's weights are.
  absl::StatusOr<Tensor> ToFloat32() const;

 private:
  static const std::vector<std::string> kNoStrings;

  DType dtype_ = DType::kFloat32;
  Shape shape_ = {0};
  std::span<const std::byte> bytes_;
  std::shared_ptr<const void> owner_;
  std::shared_ptr<const std::vector<std::string>> strings_;
};

// Variable names to their values, in name order.
using TensorMap = std::map<std::string, Tensor, std::less<>>;

// `tensor` with its axes permuted: axis i of the result is axis permutation[i] of `tensor`, as in
// NumPy. InvalidArgument unless `permutation` is one, or for strings.
absl::StatusOr<Tensor> Transpose(const Tensor& tensor, std::span<const int> permutation);

}  // namespace zood
