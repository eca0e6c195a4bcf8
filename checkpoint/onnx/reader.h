// Weights of ONNX models (.onnx): the initializers of the graph, by their names. What the graph
// computes with them is read in netdef/onnx.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "absl/status/statusor.h"
#include "base/file.h"
#include "checkpoint/reader.h"

namespace zood::checkpoint {

// Whether the bytes begin a ModelProto.
bool LooksLikeOnnx(std::span<const std::byte> bytes);

// Errors as of Open(). Elements in other files are read from beside the model's file, and from
// nowhere else.
absl::StatusOr<std::unique_ptr<Reader>> OpenOnnx(FileSystem& files, NamedFile file,
                                                 const Limits& limits);

}  // namespace zood::checkpoint
