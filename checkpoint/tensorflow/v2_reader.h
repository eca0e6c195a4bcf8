// TensorFlow's second checkpoint format, the tensor bundle: a table that says where each tensor is
// (<prefix>.index), and files of raw elements (<prefix>.data-00000-of-00001).
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "checkpoint/reader.h"

namespace zood::checkpoint {

std::string IndexPath(const std::string& prefix);
std::string DataPath(const std::string& prefix, std::int64_t shard, std::int64_t num_shards);

// `index` is the file at IndexPath(prefix); of the data files, those that it refers to are opened
// in `files`. Errors as for Open().
absl::StatusOr<std::unique_ptr<Reader>> OpenTensorFlowV2(FileSystem& files,
                                                         const std::string& prefix, NamedFile index,
                                                         const Limits& limits);

}  // namespace zood::checkpoint
