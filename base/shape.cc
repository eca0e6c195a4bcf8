#include "base/shape.h"

#include <fmt/format.h>

namespace zood {

std::optional<std::int64_t> Shape::CheckedNumElements() const {
  // A zero anywhere makes the product zero, but the other extents must still be legal.
  bool empty = false;
  for (std::int64_t dim : dims_) {
    if (dim < 0) return std::nullopt;
    empty |= dim == 0;
  }
  if (empty) return 0;
  std::int64_t product = 1;
  for (std::int64_t dim : dims_) {
    if (__builtin_mul_overflow(product, dim, &product)) return std::nullopt;
  }
  return product;
}

Shape Shape::WithBatch(std::int64_t batch) const {
  Shape shape = *this;
  shape[0] = batch;
  return shape;
}

std::string Shape::ToString() const {
  std::string text = "[";
  for (std::size_t i = 0; i < dims_.size(); ++i) {
    if (i > 0) text += ',';
    text += dims_[i] == kAnyBatch ? std::string("?") : fmt::format("{}", dims_[i]);
  }
  return text + "]";
}

}  // namespace zood
