// Writes arrays as NumPy does: numpy.load reads them.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "base/file.h"
#include "base/tensor.h"

namespace zood::checkpoint {

// Writes a new file at `path`, durably: byte for byte what numpy.save writes. AlreadyExists when
// the path is taken; InvalidArgument for bfloat16 and strings, which NumPy has not, and for more
// than 64 axes. On error nothing is left behind.
absl::Status WriteNpy(FileSystem& files, const std::string& path, const Tensor& tensor);

// The same for an archive of arrays, as numpy.savez makes; equal tensors give equal bytes. Elements
// are stored, not deflated, and aligned, so that a reader can map them. InvalidArgument too for a
// name that no entry of a zip can have, and for no tensors at all.
absl::Status WriteNpz(FileSystem& files, const std::string& path, const TensorMap& tensors);

}  // namespace zood::checkpoint
