#include "netdef/onnx/axes.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

namespace zood::netdef {
namespace {

// `axis` with parts that follow each other joined.
Axis Joined(const Axis& axis) {
  Axis joined;
  for (const AxisPart& part : axis) {
    if (!joined.empty() && joined.back().place == part.place &&
        joined.back().stride == part.stride * part.extent) {
      joined.back().extent *= part.extent;
      joined.back().stride = part.stride;
    } else {
      joined.push_back(part);
    }
  }
  return joined;
}

bool IsBatch(const Axis& axis) { return axis.size() == 1 && axis[0].place == Place::kBatch; }

std::int64_t LengthOf(const Axis& axis) {
  if (IsBatch(axis)) return -1;
  std::int64_t length = 1;
  for (const AxisPart& part : axis) length *= part.extent;
  return length;
}

}  // namespace

Axes Axes::Of(const Shape& shape, bool channels_last) {
  const auto whole = [](Place place, std::int64_t extent) {
    return extent == 1 ? Axis() : Axis{{.place = place, .extent = extent}};
  };
  std::vector<Axis> axes = {{{.place = Place::kBatch, .extent = -1}}};
  const Axis channels = whole(Place::kChannel, shape.back());
  if (!channels_last || shape.rank() == 2) axes.push_back(channels);
  if (shape.rank() == 4) {
    axes.push_back(whole(Place::kHeight, shape[1]));
    axes.push_back(whole(Place::kWidth, shape[2]));
    if (channels_last) axes.push_back(channels);
  }
  return Axes(std::move(axes));
}

std::int64_t Axes::Length(int axis) const { return LengthOf((*this)[axis]); }

std::vector<std::int64_t> Axes::Lengths() const {
  std::vector<std::int64_t> lengths;
  for (const Axis& axis : axes_) lengths.push_back(LengthOf(axis));
  return lengths;
}

std::optional<Place> Axes::WholeAxis(int axis) const {
  const Axis& parts = (*this)[axis];
  if (parts.size() != 1 || parts[0].stride != 1) return std::nullopt;
  // All of it, where no other axis has a part of the same one.
  const Place place = parts[0].place;
  for (int other = 0; other < rank(); ++other) {
    if (other == axis) continue;
    for (const AxisPart& part : (*this)[other]) {
      if (part.place == place) return std::nullopt;
    }
  }
  return place;
}

bool Axes::IsVector() const {
  for (int axis = 0; axis < rank(); ++axis) {
    const std::optional<Place> whole = WholeAxis(axis);
    if (!(*this)[axis].empty() && whole != Place::kBatch && whole != Place::kChannel) return false;
  }
  return true;
}

std::optional<Axes> Axes::Transposed(std::span<const std::int64_t> permutation) const {
  if (permutation.size() != axes_.size()) return std::nullopt;
  std::vector<Axis> axes;
  std::vector<bool> used(axes_.size());
  for (const std::int64_t from : permutation) {
    if (from < 0 || from >= rank() || used[static_cast<std::size_t>(from)]) return std::nullopt;
    used[static_cast<std::size_t>(from)] = true;
    axes.push_back(axes_[static_cast<std::size_t>(from)]);
  }
  return Axes(std::move(axes));
}

std::optional<Axes> Axes::Reshaped(std::vector<std::int64_t> lengths) const {
  if (axes_.empty() || !IsBatch(axes_[0]) || lengths.empty()) return std::nullopt;
  Axis parts;  // of all axes but the batch, outermost first
  std::int64_t elements = 1;
  for (std::size_t i = 1; i < axes_.size(); ++i) {
    if (IsBatch(axes_[i])) return std::nullopt;
    parts.insert(parts.end(), axes_[i].begin(), axes_[i].end());
    elements *= LengthOf(axes_[i]);
  }
  // The length that is left open.
  std::int64_t known = 1;
  std::int64_t* open = nullptr;
  for (std::size_t i = 1; i < lengths.size(); ++i) {
    if (lengths[i] > 0) {
      if (known > elements / lengths[i]) return std::nullopt;
      known *= lengths[i];
    } else if (lengths[i] == -1 && open == nullptr) {
      open = &lengths[i];
    } else {
      return std::nullopt;
    }
  }
  if (open != nullptr) *open = elements % known == 0 ? elements / known : 0;

  std::vector<Axis> axes = {axes_[0]};
  std::size_t next = 0;
  for (std::size_t i = 1; i < lengths.size(); ++i) {
    Axis axis;
    std::int64_t wanted = lengths[i];
    while (wanted > 1) {
      if (next == parts.size()) return std::nullopt;
      AxisPart& part = parts[next];
      if (wanted % part.extent == 0) {
        axis.push_back(part);
        wanted /= part.extent;
        ++next;
      } else if (part.extent % wanted == 0) {
        const std::int64_t inner = part.extent / wanted;
        axis.push_back({part.place, wanted, part.stride * inner});
        part.extent = inner;
        wanted = 1;
      } else {
        return std::nullopt;
      }
    }
    if (wanted != 1) return std::nullopt;
    axes.push_back(Joined(axis));
  }
  if (next != parts.size()) return std::nullopt;
  return Axes(std::move(axes));
}

std::optional<Axes> Axes::Inserted(int axis) const {
  if (axis < 0 || axis > rank()) return std::nullopt;
  Axes result = *this;
  result.axes_.insert(result.axes_.begin() + axis, Axis());
  return result;
}

std::optional<Axes> Axes::Removed(int axis) const {
  if (axis < 0 || axis >= rank() || !(*this)[axis].empty()) return std::nullopt;
  Axes result = *this;
  result.axes_.erase(result.axes_.begin() + axis);
  return result;
}

std::vector<std::int64_t> Axes::PlacesIn(const Shape& shape, int first_axis) const {
  std::vector<std::int64_t> places = {0};
  for (int axis = first_axis; axis < rank(); ++axis) {
    for (const AxisPart& part : (*this)[axis]) {
      std::int64_t step = part.stride;
      if (part.place == Place::kWidth) step *= shape.back();
      if (part.place == Place::kHeight) step *= shape.back() * shape[2];
      std::vector<std::int64_t> longer;
      longer.reserve(places.size() * static_cast<std::size_t>(part.extent));
      for (const std::int64_t place : places) {
        for (std::int64_t i = 0; i < part.extent; ++i) longer.push_back(place + i * step);
      }
      places = std::move(longer);
    }
  }
  return places;
}

std::string Axes::ToString() const { return fmt::format("[{}]", fmt::join(Lengths(), ",")); }

}  // namespace zood::netdef
