// From what a person types to the files of a TensorFlow checkpoint.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "checkpoint/reader.h"

namespace zood::checkpoint {

// Opens the TensorFlow checkpoint that `path` names, in any of the forms that Open() lists. A null
// reader when there is a file at `path` that is not TensorFlow's.
absl::StatusOr<std::unique_ptr<Reader>> OpenTensorFlow(FileSystem& files, const std::string& path,
                                                       const Limits& limits);

}  // namespace zood::checkpoint
