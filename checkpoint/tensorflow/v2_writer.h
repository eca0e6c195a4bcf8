// Writes TensorFlow V2 checkpoints: what a Saver of TensorFlow restores.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "base/file.h"
#include "base/tensor.h"

namespace zood::checkpoint {

// Writes <prefix>.data-00000-of-00001 and <prefix>.index, durably and the index last: without it
// there is no checkpoint. Bytes are TensorFlow's own for the same tensors. AlreadyExists when a
// file of that name is there; InvalidArgument for a name that a checkpoint cannot hold. On error no
// file is left behind.
absl::Status WriteBundle(FileSystem& files, const std::string& prefix, const TensorMap& tensors);

}  // namespace zood::checkpoint
