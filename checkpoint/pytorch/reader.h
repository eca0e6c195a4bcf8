// Files of torch.save (.pth, .pt, .th): a pickled state_dict in a zip archive or, before PyTorch
// 1.6, in a stream. docs/checkpoint_formats.md describes both, state.h the names.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "absl/status/statusor.h"
#include "checkpoint/reader.h"

namespace zood::checkpoint {

// Whether the bytes are a zip archive or a binary pickle; OpenPyTorch() then says what is wrong.
bool LooksLikePyTorch(std::span<const std::byte> bytes);

// Errors as of Open(). Nothing that a pickle names is run or made; one that names what runs
// programs is refused (InvalidArgument, with the name).
absl::StatusOr<std::unique_ptr<Reader>> OpenPyTorch(NamedFile file, const Limits& limits);

}  // namespace zood::checkpoint
