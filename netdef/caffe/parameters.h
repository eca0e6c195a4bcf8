// The parameters of one Caffe layer, with defaults resolved and nonsense refused.
#pragma once

#include <google/protobuf/repeated_field.h>

#include <cstdint>
#include <span>

#include "absl/status/statusor.h"
#include "netdef/caffe/caffe.pb.h"
#include "netdef/caffe/net.h"

namespace zood::netdef {

// No size, count or position in a layer is greater, so that arithmetic on a few of them stays
// within 64 bits.
constexpr std::int64_t kLargestCaffeNumber = std::int64_t{1} << 24;

// Name, type, bottoms, tops and parameters. InvalidArgument, without the layer's name, for
// parameters that make no sense.
absl::StatusOr<CaffeLayer> ResolveCaffeLayer(const formats::caffe::LayerParameter& layer);

// Of a layer that has no bottoms, whatever its type. data_layers.cc.
absl::StatusOr<CaffeData> ResolveCaffeData(const formats::caffe::LayerParameter& layer);
// Of any layer; empty where it has none.
absl::StatusOr<CaffeTransform> ResolveCaffeTransform(const formats::caffe::LayerParameter& layer);

template <typename T>
std::span<const T> Values(const google::protobuf::RepeatedField<T>& field) {
  return {field.data(), static_cast<std::size_t>(field.size())};
}

// The extents of an input. InvalidArgument unless each is at least 1.
absl::StatusOr<Shape> ResolveCaffeShape(std::span<const std::int64_t> dims);

}  // namespace zood::netdef
