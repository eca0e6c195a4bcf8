// TensorFlow's first checkpoint format: one or more tables of SavedTensorSlices.
#pragma once

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "checkpoint/reader.h"

namespace zood::checkpoint {

// `files` are all shards of the checkpoint, one or more. Errors as for Open().
absl::StatusOr<std::unique_ptr<Reader>> OpenTensorFlowV1(std::vector<NamedFile> files,
                                                         const Limits& limits);

}  // namespace zood::checkpoint
