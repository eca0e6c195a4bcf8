// Caffe's weights: .caffemodel, a serialized NetParameter of today's form or of the V1 form, and
// mean.binaryproto. docs/checkpoint_formats.md describes both; the network is caffe_net.h's.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "base/tensor.h"
#include "checkpoint/reader.h"

namespace zood::checkpoint {

// Whether the bytes read as a NetParameter that has, at least in part, a layer.
bool LooksLikeCaffe(std::span<const std::byte> bytes);

// Variables are named "<layer>/<index of the blob>": "conv1/0" is conv1's weights, "conv1/1" its
// bias. Shapes and values are the file's: old files have four extents always, (1,1,1,64) for a
// bias, (1,1,1000,4096) for the weights of an InnerProduct layer; and the mean and variance of a
// BatchNorm layer are still to be divided by its blob 2. Errors as of Open().
absl::StatusOr<std::unique_ptr<Reader>> OpenCaffe(NamedFile file, const Limits& limits);

// The mean image of a .binaryproto: float32, [C,H,W], channels in the order of the training data
// (with Caffe's tools BGR). `where` is the path by which messages call it.
// InvalidArgument when the bytes are no such file or hold no single image; DataLoss when they are
// damaged; ResourceExhausted beyond the limits.
absl::StatusOr<Tensor> ReadCaffeMean(std::span<const std::byte> binaryproto,
                                     const std::string& where, const Limits& limits = {});

// Unimplemented, for files whose layers have Caffe's first form, V0.
absl::Status RefuseCaffeV0();

}  // namespace zood::checkpoint
