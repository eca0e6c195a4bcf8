// Which element of one of our values stands where in a tensor of an ONNX model.
//
// ONNX keeps maps as [batch, channels, height, width], networks exported from Keras transpose them,
// and others cut channels into groups with reshapes. None of that moves anything here: a value
// stays [batch, height, width, channels], and its Axes say how the model sees it. Each axis of the
// model's tensor is a list of parts of axes of the value, the outermost first.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/shape.h"

namespace zood::netdef {

enum class Place : std::uint8_t { kBatch, kHeight, kWidth, kChannel };

// The elements 0, stride, 2 * stride, ... of an axis of the value.
struct AxisPart {
  Place place = Place::kBatch;
  std::int64_t extent = 0;  // -1 for the batch, which nobody knows
  std::int64_t stride = 1;
  friend bool operator==(const AxisPart&, const AxisPart&) = default;
};

// An axis of the model's tensor. Without parts it has length 1.
using Axis = std::vector<AxisPart>;

class Axes {
 public:
  Axes() = default;
  explicit Axes(std::vector<Axis> axes) : axes_(std::move(axes)) {}
  // A map or vector of `shape`, [?, H, W, C] or [?, C], as ONNX orders it: channels after the
  // batch, or last.
  static Axes Of(const Shape& shape, bool channels_last = false);

  int rank() const { return static_cast<int>(axes_.size()); }
  const Axis& operator[](int axis) const { return axes_[static_cast<std::size_t>(axis)]; }
  std::int64_t Length(int axis) const;  // -1 for the batch
  std::vector<std::int64_t> Lengths() const;
  // Where the axis is all of one axis of the value, in its order, and nothing else: which.
  std::optional<Place> WholeAxis(int axis) const;
  // Whether only length-1 axes stand beside those of the batch and of the channels.
  bool IsVector() const;

  // Nothing where `permutation` is none of all axes.
  std::optional<Axes> Transposed(std::span<const std::int64_t> permutation) const;
  // The same elements in the same order under other lengths, of which the first is the batch's and
  // one other may be -1. Nothing where they do not fit, or cut parts unevenly.
  std::optional<Axes> Reshaped(std::vector<std::int64_t> lengths) const;
  std::optional<Axes> Inserted(int axis) const;  // of length 1
  std::optional<Axes> Removed(int axis) const;   // which has length 1

  // For an axis made of parts of height, width and channels: the place of each of its elements in
  // the row-major [H, W, C] of `shape`.
  std::vector<std::int64_t> PlacesIn(const Shape& shape, int first_axis) const;

  std::string ToString() const;
  friend bool operator==(const Axes&, const Axes&) = default;

 private:
  std::vector<Axis> axes_;
};

}  // namespace zood::netdef
