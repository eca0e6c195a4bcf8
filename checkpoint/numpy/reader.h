// Files of numpy.save and numpy.savez: one array (.npy), or a zip archive of arrays (.npz).
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "absl/status/statusor.h"
#include "checkpoint/reader.h"

namespace zood::checkpoint {

// Whether the bytes are an .npy, or a zip archive whose first file is one; OpenNumpy() then says
// what is wrong.
bool LooksLikeNumpy(std::span<const std::byte> bytes);

// Errors as of Open(). An array of an .npz is called by its entry without ".npy", the one of an
// .npy by the file's name without folder and ending: an .npy says nothing of its own name.
absl::StatusOr<std::unique_ptr<Reader>> OpenNumpy(NamedFile file, const Limits& limits);

}  // namespace zood::checkpoint
