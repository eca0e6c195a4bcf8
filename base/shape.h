// The extents of a tensor, outermost first.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace zood {

// A value type. A graph's shapes may carry kAnyBatch as their first extent; the shape of a Tensor
// never does.
class Shape {
 public:
  static constexpr std::int64_t kAnyBatch = -1;

  Shape() = default;  // a scalar
  Shape(std::initializer_list<std::int64_t> dims) : dims_(dims) {}
  explicit Shape(std::vector<std::int64_t> dims) : dims_(std::move(dims)) {}

  int rank() const { return static_cast<int>(dims_.size()); }
  std::int64_t operator[](int axis) const { return dims_[static_cast<std::size_t>(axis)]; }
  std::int64_t& operator[](int axis) { return dims_[static_cast<std::size_t>(axis)]; }
  std::int64_t back() const { return dims_.back(); }
  std::span<const std::int64_t> dims() const { return dims_; }
  auto begin() const { return dims_.begin(); }
  auto end() const { return dims_.end(); }

  // The product of the extents; nothing when one is negative or the product leaves int64.
  std::optional<std::int64_t> CheckedNumElements() const;

  // The same where the extents are known to be sound, as in every Tensor.
  std::int64_t num_elements() const { return CheckedNumElements().value(); }

  // This shape with its first extent replaced.
  Shape WithBatch(std::int64_t batch) const;

  // "[3,3,64,128]"; an unknown batch prints as "?".
  std::string ToString() const;

  friend bool operator==(const Shape&, const Shape&) = default;

 private:
  std::vector<std::int64_t> dims_;
};

}  // namespace zood
