#include "base/tensor.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/status.h"

namespace zood {
namespace {

template <typename T>
void Widen(const Tensor& tensor, std::vector<float>& out) {
  std::ranges::transform(tensor.values<T>(), out.begin(),
                         [](T value) { return static_cast<float>(value); });
}

}  // namespace

const std::vector<std::string> Tensor::kNoStrings;

absl::StatusOr<Tensor> Tensor::View(DType dtype, Shape shape, std::span<const std::byte> bytes,
                                    std::shared_ptr<const void> owner) {
  if (dtype == DType::kString) return InvalidArgument("a string tensor has no flat bytes");
  const auto count = shape.CheckedNumElements();
  const std::size_t size = SizeOf(dtype);
  if (!count || bytes.size() % size != 0 ||
      static_cast<std::uint64_t>(*count) != bytes.size() / size) {
    return InvalidArgument("a {} tensor of shape {} does not fit {} bytes of data", Name(dtype),
                           shape.ToString(), bytes.size());
  }
  Tensor tensor;
  tensor.dtype_ = dtype;
  tensor.shape_ = std::move(shape);
  const std::size_t alignment = std::min<std::size_t>(size, alignof(std::max_align_t));
  if (reinterpret_cast<std::uintptr_t>(bytes.data()) % alignment != 0) {
    auto copy = std::make_shared<std::vector<std::byte>>(bytes.begin(), bytes.end());
    tensor.bytes_ = *copy;
    tensor.owner_ = std::move(copy);
  } else {
    tensor.bytes_ = bytes;
    tensor.owner_ = std::move(owner);
  }
  return tensor;
}

absl::StatusOr<Tensor> Tensor::Strings(Shape shape, std::vector<std::string> values) {
  const auto count = shape.CheckedNumElements();
  if (!count || static_cast<std::uint64_t>(*count) != values.size()) {
    return InvalidArgument("a string tensor of shape {} does not hold {} strings", shape.ToString(),
                           values.size());
  }
  Tensor tensor;
  tensor.dtype_ = DType::kString;
  tensor.shape_ = std::move(shape);
  tensor.strings_ = std::make_shared<const std::vector<std::string>>(std::move(values));
  return tensor;
}

absl::StatusOr<Tensor> Tensor::Reshaped(Shape shape) const {
  if (shape.CheckedNumElements() != shape_.CheckedNumElements()) {
    return InvalidArgument("cannot reshape {} to {}: the number of elements differs",
                           shape_.ToString(), shape.ToString());
  }
  Tensor tensor = *this;
  tensor.shape_ = std::move(shape);
  return tensor;
}

absl::StatusOr<Tensor> Tensor::ToFloat32() const {
  if (dtype_ == DType::kFloat32) return *this;
  std::vector<float> out(static_cast<std::size_t>(num_elements()));
  switch (dtype_) {
    case DType::kFloat64:
      Widen<double>(*this, out);
      break;
    case DType::kInt8:
      Widen<std::int8_t>(*this, out);
      break;
    case DType::kInt16:
      Widen<std::int16_t>(*this, out);
      break;
    case DType::kInt32:
      Widen<std::int32_t>(*this, out);
      break;
    case DType::kInt64:
      Widen<std::int64_t>(*this, out);
      break;
    case DType::kUInt8:
      Widen<std::uint8_t>(*this, out);
      break;
    case DType::kUInt16:
      Widen<std::uint16_t>(*this, out);
      break;
    case DType::kUInt32:
      Widen<std::uint32_t>(*this, out);
      break;
    case DType::kUInt64:
      Widen<std::uint64_t>(*this, out);
      break;
    case DType::kFloat16:
      std::ranges::transform(values<std::uint16_t>(), out.begin(), HalfToFloat);
      break;
    case DType::kBFloat16:
      std::ranges::transform(values<std::uint16_t>(), out.begin(), BFloat16ToFloat);
      break;
    default:
      return InvalidArgument("a {} tensor cannot be used as float32 weights", Name(dtype_));
  }
  return FromVector(shape_, std::move(out));
}

absl::StatusOr<Tensor> Transpose(const Tensor& tensor, std::span<const int> permutation) {
  const int rank = tensor.shape().rank();
  std::vector<bool> seen(static_cast<std::size_t>(rank), false);
  for (int axis : permutation) {
    if (axis < 0 || axis >= rank || seen[static_cast<std::size_t>(axis)]) {
      return InvalidArgument("not a permutation of the {} axes of {}", rank,
                             tensor.shape().ToString());
    }
    seen[static_cast<std::size_t>(axis)] = true;
  }
  if (static_cast<int>(permutation.size()) != rank || tensor.dtype() == DType::kString) {
    return InvalidArgument("cannot transpose a {} tensor of shape {} with {} axes",
                           Name(tensor.dtype()), tensor.shape().ToString(), permutation.size());
  }
  std::vector<std::int64_t> strides(static_cast<std::size_t>(rank), 1);
  for (int i = rank - 2; i >= 0; --i) {
    strides[static_cast<std::size_t>(i)] =
        strides[static_cast<std::size_t>(i) + 1] * tensor.shape()[i + 1];
  }
  std::vector<std::int64_t> dims, steps;
  for (int axis : permutation) {
    dims.push_back(tensor.shape()[axis]);
    steps.push_back(strides[static_cast<std::size_t>(axis)]);
  }
  const std::size_t size = SizeOf(tensor.dtype());
  // Storage with the alignment of max_align_t, whatever the element type.
  auto owner = std::make_shared<std::vector<std::byte>>(tensor.bytes().size());
  std::vector<std::int64_t> index(static_cast<std::size_t>(rank), 0);
  std::int64_t from = 0;
  for (std::size_t to = 0; to < owner->size(); to += size) {
    std::memcpy(owner->data() + to, tensor.bytes().data() + static_cast<std::size_t>(from) * size,
                size);
    for (std::size_t axis = dims.size(); axis-- > 0;) {  // odometer, last axis fastest
      from += steps[axis];
      if (++index[axis] < dims[axis]) break;
      from -= steps[axis] * dims[axis];
      index[axis] = 0;
    }
  }
  const std::span<const std::byte> bytes = *owner;
  return Tensor::View(tensor.dtype(), Shape(std::move(dims)), bytes, std::move(owner));
}

}  // namespace zood
