// Writes safetensors files: what the format's own library, and so PyTorch, loads.
#pragma once

#include <map>
#include <string>

#include "absl/status/status.h"
#include "base/file.h"
#include "base/tensor.h"

namespace zood::checkpoint {

// Writes a new file at `path`, durably. Equal tensors and metadata give equal bytes, those of the
// format's own library; with several metadata its order is arbitrary, here it is that of their
// keys. AlreadyExists when the path is taken; InvalidArgument for a name that the format cannot
// hold (no UTF-8, "__metadata__") and for strings. On error nothing is left behind.
absl::Status WriteSafetensors(FileSystem& files, const std::string& path, const TensorMap& tensors,
                              const std::map<std::string, std::string>& metadata = {});

}  // namespace zood::checkpoint
