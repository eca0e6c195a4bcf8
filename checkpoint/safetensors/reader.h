// Files of safetensors: a header in JSON, and the elements of its tensors.
// Format: https://github.com/huggingface/safetensors
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "absl/status/statusor.h"
#include "checkpoint/reader.h"

namespace zood::checkpoint {

// Whether the bytes begin with a length and, behind it, a '{'; OpenSafetensors() then says what is
// wrong.
bool LooksLikeSafetensors(std::span<const std::byte> bytes);

// Errors as of Open(). Tensors share the file's memory where their elements are aligned in it.
absl::StatusOr<std::unique_ptr<Reader>> OpenSafetensors(NamedFile file, const Limits& limits);

}  // namespace zood::checkpoint
